"""How a function is compiled here: once, kept on disk, and compiled again when any file of ``vitals`` has changed.

numba keeps what it compiled beside the file of the function and looks at that file's age alone. A kernel has the code
of the kernels it calls, and the constants of other files, compiled into it: without this, a changed file would go on
running as it was before in every kernel of another file that uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from numba import config, njit


def _sources() -> str:
    digest = blake2b(digest_size=8)
    for path in sorted(_FOLDER.rglob("*.py")):
        digest.update(path.relative_to(_FOLDER).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


_FOLDER: Final = Path(__file__).parent
SOURCES: Final = _sources()
"""Sixteen hex digits that differ between any two states of ``vitals``."""
_KEPT: Final = f"kernels-{SOURCES}"


def kernel(function: Callable[..., Any]) -> Any:
    """``function`` compiled without Python objects and without the interpreter's lock."""
    chosen = config.CACHE_DIR
    config.CACHE_DIR = str((Path(chosen) if chosen else _FOLDER / "__pycache__") / _KEPT)
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to keep it, as in a container that may not write: it is compiled at each start
        return njit(nogil=True)(function)
    finally:
        config.CACHE_DIR = chosen
