"""``python -m stream unit [FILE]``: the factory's alarm rules as a file to begin with, or a check of a unit's own.

The file is what ``WARDWATCH_UNIT`` names; a worker that cannot use it does not start, and says the same.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from vitals.unit import FACTORY, UnitError, read, written


def main(argv: Sequence[str]) -> int:
    """Exit status 0 when the file can be used."""
    if len(argv) > 1:
        sys.stderr.write("usage: python -m stream unit [FILE]\n")
        return 2
    if not argv:
        sys.stdout.write(written(FACTORY))
        return 0
    try:
        unit = read(Path(argv[0]).read_text())
    except (OSError, UnitError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{argv[0]} can be used: rules and limits {unit.version}\n")
    return 0
