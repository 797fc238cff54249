"""``python -m tests.fuzz [TARGET ...] --seconds 60``: each target under Atheris, led by coverage, in its own process.

The corpus grows in ``.fuzz/<target>``; what fails is kept in ``.fuzz/failed`` and shown. 1 when anything failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(".fuzz")
_RSS_MB = 3000
_TIMEOUT_S = 20
_LONGEST = 65_536
_LED_THROUGH = ("stream", "tests", "pydicom", "PIL", "wfdb", "zipfile")
"""What is Python: a compiled kernel cannot be led through, and must not be rewritten before it is compiled."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        return run(asked.targets[0], asked.seconds)
    from tests.fuzz.targets import targets  # noqa: PLC0415

    failed = []
    for target in asked.targets or map(str, targets()):
        print(f"== {target}", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(asked.seconds), "--inside"]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(target)
    print(f"failed: {', '.join(failed) or 'none'}", flush=True)
    return 1 if failed else 0


def run(name: str, seconds: int) -> int:
    import atheris  # noqa: PLC0415

    with atheris.instrument_imports(include=list(_LED_THROUGH)):
        from tests.fuzz.targets import codec, targets  # noqa: PLC0415
    atheris.instrument_func(codec.decode)
    (target,) = [t for t in targets() if t.name == name]
    corpus, failures = FOLDER / name, FOLDER / "failed"
    corpus.mkdir(parents=True, exist_ok=True)
    failures.mkdir(exist_ok=True)
    for i, seed in enumerate(target.seeds):
        (corpus / f"seed-{i}").write_bytes(seed)
        target.take(seed)  # compiles what is compiled before the clock runs
    options = {
        "max_total_time": seconds,
        "rss_limit_mb": _RSS_MB,
        "timeout": _TIMEOUT_S,
        "max_len": _LONGEST,
        "artifact_prefix": f"{failures}/{name}-",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    atheris.Setup([sys.argv[0], str(corpus), *(f"-{key}={value}" for key, value in options.items())], target.take)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
