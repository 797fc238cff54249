"""Set-up as a new user meets it: what can be made, what is pinned, and what is said when something is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_TOOLS = ("bash", "make", "cat", "sha256sum", "cut", "grep", "sed", "awk", "touch", "find", "rm")


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with a shell and make on it, and none of the tools that the project needs."""
    for tool in _TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / tool).symlink_to(found)
    return tmp_path


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout where nothing was set up."""
    folder = tmp_path_factory.mktemp("fresh")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def _make(folder: Path, path: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "KAFKA"}}
    environment = {**kept, "PATH": str(path)} if path else kept
    make = shutil.which("make")
    assert make is not None
    return subprocess.run([make, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _says(folder: Path, path: Path, target: str) -> list[str]:
    done = _make(folder, path, target)
    assert done.returncode != 0
    return [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make")]


def test_help_names_every_target_a_person_would_call(bare_path: Path) -> None:
    said = _make(ROOT, bare_path, "help").stdout
    for target in ("demo", "test", "check", "bench", "help", "clean"):
        assert re.search(rf"^  make {target} +\S", said, re.MULTILINE), target
    for setting in ("SPEED=", "FOR=", "REPORT=", "KAFKA=", "HTTP_PORT="):
        assert setting in said


def test_make_alone_shows_the_help(bare_path: Path) -> None:
    assert _make(ROOT, bare_path).stdout == _make(ROOT, bare_path, "help").stdout


@pytest.mark.parametrize("target", ["demo", "setup", "setup-test"])
def test_without_python_one_line_says_how_to_get_it(fresh: Path, bare_path: Path, target: str) -> None:
    (line,) = _says(fresh, bare_path, target)
    assert "apt-get install python3.11 python3.11-venv" in line
    assert not (fresh / ".venv").exists()


def _stub(folder: Path, *tools: str) -> None:
    for tool in tools:
        (folder / tool).symlink_to("/bin/true")


def _with_venv(fresh: Path) -> None:
    """As if .venv had been made: its pip is there."""
    (fresh / ".venv" / "bin").mkdir(parents=True)
    (fresh / ".venv" / "bin" / "pip").touch()


def test_without_a_way_to_start_kafka_one_line_says_what_to_install(fresh: Path, bare_path: Path) -> None:
    _stub(bare_path, "python3.11")
    _with_venv(fresh)
    (line,) = _says(fresh, bare_path, "demo")
    assert "default-jre-headless maven" in line
    assert "Docker" in line
    assert "KAFKA=host:port" in line


@pytest.mark.parametrize("tools", [("java", "mvn"), ("docker",)])
def test_java_with_maven_or_docker_alone_is_enough_for_kafka(
    fresh: Path, bare_path: Path, tools: tuple[str, ...]
) -> None:
    _stub(bare_path, *tools)
    assert _make(fresh, bare_path, "needs-broker").returncode == 0


def test_a_named_broker_needs_none_of_them(fresh: Path, bare_path: Path) -> None:
    assert _make(fresh, bare_path, "needs-broker", "KAFKA=127.0.0.1:9092").returncode == 0


def test_the_tools_that_tests_start_are_named_in_one_line_by_their_packages(fresh: Path, bare_path: Path) -> None:
    _stub(bare_path, "java", "chromium")
    (line,) = _says(fresh, bare_path, "test")
    assert line.endswith("apt-get install maven prometheus prometheus-alertmanager chromium-driver")


def test_what_the_settings_of_a_demo_become_is_its_command_line(fresh: Path) -> None:
    dry = _make(
        fresh, None, "-n", "demo", "SPEED=10", "FOR=60", "REPORT=a b.json", "KAFKA=h:1", "HTTP_PORT=8080"
    ).stdout
    (command,) = [line for line in dry.replace("\\\n", " ").splitlines() if "-m stream demo" in line]
    assert " ".join(command.split()).endswith(
        "-m stream demo --speed 10 --for 60 --report 'a b.json' --kafka h:1 --http-port 8080"
    )


def test_a_demo_that_trains_sets_up_what_training_needs(fresh: Path) -> None:
    dry = _make(fresh, None, "-n", "demo", "TRAIN=1", "KAFKA=h:1").stdout
    assert "ready-test-" in dry
    assert "--train" in dry.replace("\\\n", " ")
    assert "ready-test-" not in _make(fresh, None, "-n", "demo", "KAFKA=h:1").stdout


def test_what_is_set_up_is_not_set_up_again_until_a_pin_changes(fresh: Path) -> None:
    _with_venv(fresh)
    (stamp,) = re.findall(r"touch (\.venv/ready-demo-\w+)", _make(fresh, None, "-n", "setup").stdout)
    (fresh / stamp).touch()
    assert "pip install" not in _make(fresh, None, "-n", "setup").stdout
    (fresh / "constraints.txt").write_text((fresh / "constraints.txt").read_text() + "six==1.0\n")
    assert "pip install" in _make(fresh, None, "-n", "setup").stdout


def test_everything_asked_for_is_pinned_and_nothing_is_pinned_twice() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    parsed = [re.fullmatch(r"([A-Za-z0-9._-]+)==[A-Za-z0-9.]+", line) for line in pins]
    assert all(parsed)
    names = [_normal(match[1]) for match in parsed if match]
    assert len(set(names)) == len(names)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = {_normal(name) for name in (*project["dependencies"], *extras["check"], *extras["trainer"])}
    assert asked <= set(names)


def test_the_demo_asks_for_no_training_framework() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not {"torch", "onnx", "onnxscript"} & {_normal(name) for name in project["dependencies"]}


def test_the_run_of_a_clean_clone_is_a_script_that_ends_with_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert script.read_text().rstrip().splitlines()[-1].endswith("test")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
