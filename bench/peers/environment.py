"""The peers' Python: an environment of their own, since their pins do not fit ours, over our packages.

What they pin stands first on its path; numpy, numba, ONNX Runtime and msgspec are the very files that our worker uses.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

PINS = Path(__file__).parent / "constraints.txt"
PEERS = ("quixstreams", "bytewax")
_FOLDER = Path(__file__).resolve().parents[2] / ".wardwatch"


def python() -> Path:
    """The interpreter; made at the first call, in about half a minute."""
    home = _FOLDER / f"peers-{hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]}"
    interpreter = home / "bin" / "python"
    ours = _site_packages(home) / "wardwatch.pth"
    if not ours.exists():
        print(f"Installing {' and '.join(PEERS)} into {home.relative_to(_FOLDER.parent)}", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--constraint", PINS, *PEERS], check=True)
        ours.write_text(sysconfig.get_paths()["purelib"] + "\n")
    return interpreter


def _site_packages(home: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
