"""Prints, as JSON, what the real TensorRT bindings have: run as a program, in a process of its own.

The bindings' C++ libraries need a GPU machine. But to be imported they only need nine C functions to exist, so empty
ones are compiled here first. Nothing can be built or run that way; every class and signature can be read.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import subprocess
import sys
from pathlib import Path

_SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getNvOnnxParserVersion",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)


def main(folder: Path) -> None:
    source = folder / "stub.c"
    source.write_text("".join(f"void *{symbol}(void) {{ return 0; }}\n" for symbol in _SYMBOLS))
    for library in ("libnvinfer.so.11", "libnvinfer_plugin.so.11", "libnvonnxparser.so.11"):
        path = folder / library
        subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", path, source], check=True)
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    trt = importlib.import_module("tensorrt_bindings")

    described: dict[str, dict[str, str]] = {}
    for name, thing in vars(trt).items():
        if isinstance(thing, type):
            described[name] = _members(thing)
            for inner_name, inner in vars(thing).items():
                if isinstance(inner, type):
                    described[f"{name}.{inner_name}"] = _members(inner)
    json.dump({"version": trt.__version__, "classes": described}, sys.stdout)


def _members(kind: type) -> dict[str, str]:
    members = dict.fromkeys(getattr(kind, "__members__", {}), "member")
    for name in dir(kind):
        thing = getattr(kind, name)
        if isinstance(thing, property):
            members[name] = "property" if thing.fset is None else "property with setter"
        elif name not in members:
            members[name] = thing.__doc__ or ""
    return members


if __name__ == "__main__":
    main(Path(sys.argv[1]))
