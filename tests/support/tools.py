"""Programs that the tests start. One that is missing is a failure that says what to install, never a skip."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_DEBIAN_PACKAGE = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}


def program(name: str) -> str:
    """The path of ``name``."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is missing. Debian: apt-get install {_DEBIAN_PACKAGE[name]}", pytrace=False)
    return path


def said_by(name: str, *arguments: str | Path, cwd: Path | None = None) -> str:
    """What ``name`` printed. Fails with all of it when its status is not 0."""
    argv = [program(name), *map(str, arguments)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=180, cwd=cwd)
    if done.returncode != 0:
        pytest.fail(f"{name} {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout
