"""The import contracts can fail: a forbidden import planted in a copy of the packages is found and named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_PROJECT = Path(__file__).resolve().parents[1]
_LINT = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("vitals", "models", "stream", "trainer"):
        shutil.copytree(_PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "bundles"))
    shutil.copy(_PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [_LINT, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_the_tree_as_it_is_keeps_every_contract(copy: Path) -> None:
    status, said = lint(copy)
    assert status == 0, said


@pytest.mark.parametrize(
    ("file", "planted", "broken"),
    [
        ("stream/scoring.py", "import torch", "The serving image carries no training framework"),
        ("stream/pipeline.py", "import faust", "Faust stays at the door"),
        ("vitals/units.py", "import vitals.findings", "vitals floors"),
        ("trainer/gate.py", "import stream.topics", "House"),
        ("stream/observing.py", "import stream.config", "Settings are read once"),
    ],
)
def test_a_planted_import_is_found(copy: Path, file: str, planted: str, broken: str) -> None:
    path = copy / file
    path.write_text(path.read_text().replace("from __future__ import annotations", f"{planted}", 1))
    status, said = lint(copy)
    assert status == 1
    assert any(line.startswith(broken) and "BROKEN" in line for line in said.splitlines()), said
