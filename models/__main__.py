"""``python -m models build | parity | inspect | keygen | sign | promote | rollback | challenge | withdraw``: models
looked at and handled by hand.

WHICH is the folder of a bundle, or a task, which means the bundle that serves it in the registry.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from models import parity
from models.build import BuildFailed, build
from models.engine import SERVING_RUNGS, Engine, EngineError, Rung
from models.engines.onnx import open_onnx
from models.engines.tensorrt import open_tensorrt
from models.registry import Bundle, Registry, opened
from models.signing import SigningKey, Trust, keygen
from vitals.clock import SystemClock
from vitals.errors import WardwatchError
from vitals.findings import Task

_BUNDLES: Final = Path(__file__).parent / "bundles"
_TIMED_ROWS: Final = (1, 32, 256)
_TIMED_S: Final = 0.2


def main(argv: list[str]) -> int:
    """Runs one command; 0 when it did what was asked."""
    parser = argparse.ArgumentParser(prog="python -m models", description="Models looked at and handled by hand.")
    state = Path(os.environ.get("WARDWATCH_STATE") or ".wardwatch")
    registry = os.environ.get("WARDWATCH_REGISTRY") or state / "registry"
    parser.add_argument("--registry", type=Path, default=registry, help="folder of the model registry")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, does, what in (
        ("build", _build, "build the TensorRT plan of a bundle for this machine's GPU"),
        ("parity", _parity, "hold every engine of this machine to the golden answers of a bundle"),
        ("inspect", _inspect, "show the manifest of a bundle, its figures, and how fast it runs here"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("which", metavar="WHICH", help="folder of a bundle, or a task")
        command.add_argument("--plans", type=Path, default=state / "plans", help="folder of TensorRT plans")
        command.set_defaults(does=does)
    for name, does, what in (
        ("promote", _promote, "make a bundle of the registry serve"),
        ("rollback", _rollback, "make the bundle before serve again"),
        ("challenge", _challenge, "have a bundle scored beside the one that serves, which goes on"),
        ("withdraw", _withdraw, "call the challenger off"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("task", type=Task, choices=list(Task))
        if name in ("promote", "challenge"):
            command.add_argument("bundle", help="its hash, or enough of its beginning")
        command.add_argument("--kafka", help="host:port: tell the workers")
        command.add_argument("--report", default="by hand", help="why, for the record")
        command.set_defaults(does=does)
    command = commands.add_parser("sign", help="vouch for a bundle with the key in WARDWATCH_SIGNING_KEY")
    command.add_argument("task", type=Task, choices=list(Task))
    command.add_argument("bundle", help="its hash, or enough of its beginning")
    command.set_defaults(does=_sign)
    command = commands.add_parser("keygen", help="a new pair of keys: one signs bundles, the other one is trusted")
    command.add_argument("folder", type=Path)
    command.set_defaults(does=_keygen)
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.does(arguments)
    except (WardwatchError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return code


def _build(arguments: argparse.Namespace) -> int:
    last = [""]

    def tell(phase: str, done: int, of: int) -> bool:
        if phase != last[0]:
            print(f"{phase} ({of} steps)", file=sys.stderr)
        last[0] = phase
        return True

    try:
        print(build(_bundle(arguments), arguments.plans, progress=tell))
    except (BuildFailed, EngineError) as error:
        print(f"no plan: {error}", file=sys.stderr)
        return 1
    return 0


def _parity(arguments: argparse.Namespace) -> int:
    bundle = _bundle(arguments)
    different = 0
    for rung, opening in _openings(bundle, arguments.plans).items():
        try:
            engine = opening()
        except EngineError as error:
            print(f"{rung}: not run: {error}")
            continue
        verdict = parity.on_golden(bundle, engine)
        engine.close()
        different += not verdict.passed
        print(verdict.table())
    return int(different > 0)


def _inspect(arguments: argparse.Namespace) -> int:
    bundle = _bundle(arguments)
    manifest = bundle.manifest
    print(f"{bundle.task} {bundle.hash}")
    print(f"made {manifest.created} by {manifest.code_version}, trained on {manifest.trained_on}")
    print(f"network {manifest.network} {manifest.network_arguments}, window {manifest.window}")
    for word, tensors in (("in", manifest.inputs), ("out", manifest.outputs)):
        for tensor in tensors:
            shape = ", ".join(str(size) for size in ("n", *tensor.row_shape))
            print(f"  {word:<4}{tensor.name:<14}{tensor.dtype}[{shape}]  {tensor.unit}")
    print(f"columns {', '.join(manifest.columns[:8])}{' …' if len(manifest.columns) > 8 else ''}")
    for name, value in sorted(manifest.metrics.items()):
        print(f"  {name:<32}{value:.4f}")
    for name, size in sorted((name, (bundle.folder / name).stat().st_size) for name in bundle.file_hashes):
        print(f"  {name:<24}{size:>10} bytes")
    for rung, opening in _openings(bundle, arguments.plans).items():
        try:
            engine = opening()
        except EngineError as error:
            print(f"{rung:<10} not run: {error}")
            continue
        times = "  ".join(f"{rows} rows: {_row_us(bundle, engine, rows):8.1f} us each" for rows in _TIMED_ROWS)
        print(f"{rung:<10} {times}")
        engine.close()
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    registry = _registry(arguments)
    return _told(arguments, registry, registry.promote(arguments.task, _named(arguments, registry)))


def _rollback(arguments: argparse.Namespace) -> int:
    registry = _registry(arguments)
    return _told(arguments, registry, registry.rollback(arguments.task, why=arguments.report))


def _challenge(arguments: argparse.Namespace) -> int:
    registry = _registry(arguments)
    return _told(arguments, registry, registry.challenge(arguments.task, _named(arguments, registry)))


def _withdraw(arguments: argparse.Namespace) -> int:
    registry = _registry(arguments)
    challenger = registry.challenger(arguments.task)
    if challenger is None:
        raise ValueError(f"{arguments.task} has no challenger")
    registry.withdraw(arguments.task, of=challenger.hash, why=arguments.report)
    return _told(arguments, registry, challenger)


def _sign(arguments: argparse.Namespace) -> int:
    key = os.environ.get("WARDWATCH_SIGNING_KEY")
    if not key:
        raise ValueError("WARDWATCH_SIGNING_KEY names no file")
    registry = Registry.seeded(arguments.registry, _BUNDLES)
    bundle_hash = _named(arguments, registry)
    registry.sign(arguments.task, bundle_hash, SigningKey.read(Path(key)))
    print(f"{arguments.task} {bundle_hash}")
    return 0


def _keygen(arguments: argparse.Namespace) -> int:
    private, public = keygen(arguments.folder)
    print(f"WARDWATCH_SIGNING_KEY={private}   for the trainer alone: whoever has it decides what serves")
    print(f"WARDWATCH_TRUSTED_KEYS={public}   for every worker")
    return 0


def _told(arguments: argparse.Namespace, registry: Registry, bundle: Bundle) -> int:
    if arguments.kafka:
        announce = importlib.import_module("models.announce").announce
        announce(arguments.kafka, registry, bundle, arguments.command, arguments.report, SystemClock())
    print(f"{bundle.task} {bundle.hash}")
    return 0


def _registry(arguments: argparse.Namespace) -> Registry:
    """Nothing is promoted that a worker with the same trusted keys would refuse."""
    keys = os.environ.get("WARDWATCH_TRUSTED_KEYS")
    return Registry.seeded(arguments.registry, _BUNDLES, trust=Trust.read(Path(keys)) if keys else None)


def _named(arguments: argparse.Namespace, registry: Registry) -> str:
    found = [name for name in registry.bundles(arguments.task) if name.startswith(arguments.bundle)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} bundles of {arguments.task} begin like that")
    return found[0]


def _bundle(arguments: argparse.Namespace) -> Bundle:
    folder = Path(arguments.which)
    if folder.is_dir():
        return opened(folder)
    task = Task(arguments.which)
    bundle = Registry.seeded(arguments.registry, _BUNDLES).current(task)
    if bundle is None:
        raise ValueError(f"no bundle serves {task}")
    return bundle


def _openings(bundle: Bundle, plans: Path) -> dict[Rung, Callable[[], Engine]]:
    def torch() -> Engine:
        try:
            reference = importlib.import_module("models.engines.torch_reference")
        except ImportError as error:
            raise EngineError(f"not installed: {error}") from None
        importlib.import_module("torch").set_num_threads(1)  # as the others run; and threads that spin tell no times
        engine: Engine = reference.open_torch(bundle)
        return engine

    serving: dict[Rung, Callable[[], Engine]] = {
        Rung.TENSORRT: lambda: open_tensorrt(bundle, plans),
        Rung.ONNX_CUDA: lambda: open_onnx(bundle, Rung.ONNX_CUDA),
        Rung.ONNX_CPU: lambda: open_onnx(bundle, Rung.ONNX_CPU),
    }
    return {rung: serving[rung] for rung in SERVING_RUNGS} | {Rung.TORCH: torch}


def _row_us(bundle: Bundle, engine: Engine, rows: int) -> float:
    inputs = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in bundle.golden_inputs.items()}
    engine.infer(inputs)
    times = []
    end = time.perf_counter() + _TIMED_S
    while time.perf_counter() < end:
        start = time.perf_counter()
        engine.infer(inputs)
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / rows * 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
