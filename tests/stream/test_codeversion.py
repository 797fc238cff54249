"""The version of the code that decides is that of all of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from stream.codeversion import CODE, DECIDING

_PROJECT = Path(__file__).resolve().parents[2]


def said(code: str, folder: Path) -> str:
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_every_file_of_stream_between_a_finding_and_its_alarm_is_in_it() -> None:
    imported = said(
        "import sys, stream.alerting; print(*(m for m in sys.modules if m.startswith('stream.')))", _PROJECT
    )
    assert set(imported.split()) == {f"stream.{name}" for name in DECIDING} | {"stream.codeversion"}


def test_it_is_the_same_in_another_process_and_another_one_after_any_change(tmp_path: Path) -> None:
    for package in ("vitals", "stream"):
        shutil.copytree(_PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "static"))
    tell = "from stream.codeversion import CODE; print(CODE)"
    assert said(tell, tmp_path) == CODE
    versions = {CODE}
    for changed in ("vitals/limits.py", "stream/bedside.py"):
        with (tmp_path / changed).open("a") as file:
            file.write("# patched\n")
        versions.add(said(tell, tmp_path))
    assert len(versions) == 3
    (tmp_path / "stream" / "audit.py").write_text("# decides nothing\n")
    assert said(tell, tmp_path) in versions
