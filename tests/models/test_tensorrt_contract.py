"""The TensorRT rung is run against fakes. These tests hold the fakes to the real bindings, call by call."""

from __future__ import annotations

import enum
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import fake_cuda, fake_tensorrt

_DUMP = Path(fake_tensorrt.__file__).with_name("trt_bindings_dump.py")


@dataclass(frozen=True)
class Bindings:
    version: str
    classes: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    if importlib.util.find_spec("tensorrt_bindings") is None or shutil.which("cc") is None:
        pytest.skip("not run: tensorrt-cu13-bindings or a C compiler is not installed")
    command = [sys.executable, str(_DUMP), str(tmp_path_factory.mktemp("stub"))]
    return Bindings(**json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def classes_of(fake: ModuleType) -> dict[str, type]:
    own = {k: v for k, v in vars(fake).items() if isinstance(v, type) and v.__module__ == fake.__name__}
    inner = {
        f"{k}.{name}": kind
        for k, v in own.items()
        for name, kind in vars(v).items()
        if isinstance(kind, type) and not name.startswith("_")
    }
    return own | inner


def public(kind: type) -> dict[str, object]:
    return {
        name: thing for name, thing in vars(kind).items() if not name.startswith("_") and not isinstance(thing, type)
    }


def test_the_fake_is_of_the_version_of_the_bindings(real: Bindings) -> None:
    assert real.version == fake_tensorrt.__version__


@pytest.mark.parametrize("name", sorted(classes_of(fake_tensorrt)))
def test_tensorrt_has_every_call_of_the_fake_with_the_same_parameters(name: str, real: Bindings) -> None:
    fake, there = classes_of(fake_tensorrt)[name], real.classes[name]
    if issubclass(fake, enum.Enum):
        assert {member for member in fake.__members__ if there.get(member) != "member"} == set()
        return
    for method, thing in public(fake).items():
        assert method in there, f"{name}.{method}"
        if isinstance(thing, property):
            wanted = "property" if thing.fset is None else "property with setter"
            assert there[method].startswith(wanted), f"{name}.{method} is {there[method]}"
        else:
            signatures = parameters_in(there[method], method)
            assert list(inspect.signature(thing).parameters) in signatures, f"{name}.{method}: {signatures}"


@pytest.mark.parametrize("name", ["Builder", "Runtime", "OnnxParser"])
def test_tensorrt_objects_are_made_from_what_the_fakes_are_made_from(name: str, real: Bindings) -> None:
    made_from = list(inspect.signature(classes_of(fake_tensorrt)[name].__init__).parameters)
    assert made_from in parameters_in(real.classes[name]["__init__"], "__init__")


def test_float16_is_no_flag_of_this_tensorrt(real: Bindings) -> None:
    assert not {"FP16", "INT8", "BF16"} & set(real.classes["BuilderFlag"])


def test_cuda_has_every_call_of_the_fake_with_the_same_parameters() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="not run: cuda-bindings is not installed")
    calls = [v for k, v in vars(fake_cuda).items() if k.startswith("cuda") and inspect.isfunction(v)]
    assert len(calls) >= 9
    for call in calls:
        there = inspect.signature(getattr(runtime, call.__name__)).parameters
        assert list(inspect.signature(call).parameters) == list(there), call.__name__
    for name in ("cudaError_t", "cudaMemcpyKind"):
        wanted, there = getattr(fake_cuda, name), getattr(runtime, name)
        assert {m.name: int(m) for m in wanted} == {m.name: int(getattr(there, m.name)) for m in wanted}
    assert runtime.cudaStreamNonBlocking == fake_cuda.cudaStreamNonBlocking
    assert isinstance(runtime.cudaDeviceProp().name, bytes)


def parameters_in(documentation: str, name: str) -> list[list[str]]:
    """The parameter names of every overload in a docstring of pybind11."""
    signatures = re.findall(rf"(?:^|\d\. ){name}\((self: .*)\) ->", documentation, re.MULTILINE)
    return [re.findall(r"(?:^|, )(\w+): ", signature) for signature in signatures]
