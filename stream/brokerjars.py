"""Apache Kafka's own jars, fetched once by Maven into the user's cache folder."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vitals.errors import Fault

KAFKA_VERSION: Final = "4.1.0"
_LOG4J_VERSION: Final = "2.24.3"  # the one that Kafka 4.1.0 ships
_JARS: Final = "libs"
_MAVEN_DEADLINE_S: Final = 900

_POM: Final = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>wardwatch</groupId><artifactId>broker-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>{_LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def cache_folder() -> Path:
    """Where the jars live, for every checkout of this user."""
    return Path.home() / ".cache" / "wardwatch" / f"kafka-{KAFKA_VERSION}"


def jars_present(folder: Path) -> bool:
    """Whether the folder holds a complete set (it is moved into place only when complete)."""
    return (folder / _JARS).is_dir()


def resolve_jars(folder: Path) -> Path:
    """The folder of jars; fetched with ``mvn`` at the first call. Raises ``Fault`` when Maven cannot."""
    if jars_present(folder):
        return folder / _JARS
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder / "lock"):
        if not jars_present(folder):
            _fetch(folder)
    return folder / _JARS


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """The kernel lets go of the lock when the process ends, however it ends."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    partial = folder / "libs.partial"
    shutil.rmtree(partial, ignore_errors=True)
    (folder / "pom.xml").write_text(_POM)
    _show(f"Fetching Apache Kafka {KAFKA_VERSION} with Maven (once, 46 jars, 43 MB)\n")
    argv = ["mvn", "-B", "-f", str(folder / "pom.xml"), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    said = _run_showing_jars([*argv, f"-DoutputDirectory={partial}"])
    if not any(partial.glob("kafka_2.13-*.jar")):
        errors = [line for line in said if line.startswith("[ERROR]")]
        raise Fault(f"Maven could not fetch Kafka: {errors[0][8:300] if errors else ' '.join(said[-1:])}")
    partial.rename(folder / _JARS)


def _show(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _run_showing_jars(argv: list[str]) -> list[str]:
    """Runs Maven, shows the count of jars, returns what it said."""
    said: list[str] = []
    fetched = 0
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as maven:
        assert maven.stdout is not None  # noqa: S101  asked for above
        try:
            for raw in maven.stdout:
                line = raw.decode(errors="replace").strip()
                said.append(line)
                if line.startswith("[INFO] Copying ") or (line.startswith("Downloaded ") and ".jar" in line):
                    fetched += 1
                    if sys.stderr.isatty():
                        _show(f"\r  {fetched} jars")
            maven.wait(_MAVEN_DEADLINE_S)
        finally:
            if maven.poll() is None:
                maven.kill()
    if sys.stderr.isatty():
        _show("\n")
    return said
