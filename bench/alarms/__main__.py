"""The burden of alarms on every labelled recording at hand, and what of the life-threatening is found.

    python -m bench.alarms [--data FOLDER] [--out bench/reports/alarms.json] [--page docs/alarms.md]

Nobody answers an alarm here, no limit is moved, and each recording begins with a patient nobody has seen before.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

from bench.alarms.burden import Burden, page_of, report_of
from bench.alarms.replays import replays

_HERE = Path(__file__).resolve().parents[2]
_MARKED = re.compile(r"(<!-- burden -->\n).*?(<!-- end burden -->)", re.DOTALL)


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument(
        "--data", type=Path, default=Path(os.environ.get("WARDWATCH_DATA") or _HERE.parent / "shared/data")
    )
    asked.add_argument("--out", type=Path, default=_HERE / "bench/reports/alarms.json")
    asked.add_argument("--page", type=Path, default=_HERE / "docs/alarms.md")
    told = asked.parse_args()
    burdens = [Burden.of(name, taken) for name, taken in replays(told.data, _HERE / ".wardwatch/registry").items()]
    if not burdens:
        raise SystemExit(f"no recordings in {told.data.name}: set WARDWATCH_DATA")
    told.out.write_text(json.dumps(report_of(burdens), indent=1) + "\n", encoding="utf-8")
    text = told.page.read_text(encoding="utf-8")
    lines = "\n".join(page_of(burdens))
    filled, marks = _MARKED.subn(lambda mark: f"{mark[1]}{lines}\n{mark[2]}", text)
    if marks != 1:
        raise SystemExit(f"{told.page.name} has no place for the table")
    told.page.write_text(filled, encoding="utf-8")
    print(lines)


if __name__ == "__main__":
    main()
