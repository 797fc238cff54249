from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_VITALS = Path(__file__).resolve().parents[2] / "vitals"

_CALLED = """
from vitals.kernels import kernel

@kernel
def called(x):
    return x + {number}
"""
_CALLING = """
from vitals.kernels import kernel
from vitals.called import called

@kernel
def calling(x):
    return called(x)
"""


def test_a_change_in_one_file_is_seen_by_the_kernels_of_another_that_call_it(tmp_path: Path) -> None:
    package = tmp_path / "vitals"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(_VITALS / "kernels.py", package)
    (package / "calling.py").write_text(_CALLING)
    answers = []
    for number in (1, 2):
        (package / "called.py").write_text(_CALLED.format(number=number))
        run = "from vitals.calling import calling; print(calling(10))"
        said = subprocess.run([sys.executable, "-c", run], cwd=tmp_path, capture_output=True, text=True, check=True)
        answers.append(said.stdout.strip())
    assert answers == ["11", "12"]
    kept = list((package / "__pycache__").glob("kernels-*"))
    assert len(kept) == 2
    assert all(list(folder.rglob("*.nbc")) for folder in kept), "nothing was kept, so every start compiles again"


def test_where_nothing_may_be_written_kernels_are_compiled_all_the_same(tmp_path: Path) -> None:
    package = tmp_path / "vitals"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(_VITALS / "kernels.py", package)
    (package / "called.py").write_text(_CALLED.format(number=1))
    # no place that numba tries fits, as in a container whose files are read-only
    nowhere = {**os.environ, "NUMBA_CACHE_LOCATOR_CLASSES": "ZipCacheLocator"}
    argv = [sys.executable, "-c", "from vitals.called import called; print(called(10))"]
    said = subprocess.run(argv, cwd=tmp_path, env=nowhere, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "11"
    assert not list(package.rglob("*.nbc"))
