"""A stand-in for ``cuda.bindings.runtime``: device memory is memory of this process, a stream is a list of work.

Work on a stream happens when the stream is waited for, not before: who reads too early reads what was there before.
"""
# The real names are as they are.
# ruff: noqa: N801, N803, N815, N816

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

ALIVE: dict[int, Any] = {}
"""Memory taken and not given back, by address."""
STREAMS: dict[int, list[Callable[[], None]]] = {}
"""Work not yet done, by stream."""
failing: set[str] = set()
"""Names of calls that fail from now on."""
_NEXT = iter(range(1, 1 << 30))


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorIllegalAddress = 700


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


_OK = cudaError_t.cudaSuccess
cudaStreamNonBlocking = 1


def cudaGetDeviceProperties(device: int) -> tuple[Any, ...]:
    if "cudaGetDeviceProperties" in failing:
        return cudaError_t.cudaErrorNoDevice, None
    return _OK, SimpleNamespace(name=b"NVIDIA Imaginary 9000\0\0")


def _allocated(size: int) -> int:
    memory = (ctypes.c_byte * size)(*b"\x7f" * size)  # not zero: what was never written shows
    address = ctypes.addressof(memory)
    ALIVE[address] = memory
    return address


def cudaMalloc(size: int) -> tuple[Any, ...]:
    return (cudaError_t.cudaErrorMemoryAllocation, None) if "cudaMalloc" in failing else (_OK, _allocated(size))


def cudaMallocHost(size: int) -> tuple[Any, ...]:
    return (cudaError_t.cudaErrorMemoryAllocation, None) if "cudaMallocHost" in failing else (_OK, _allocated(size))


def cudaFree(devPtr: int) -> tuple[Any, ...]:
    del ALIVE[devPtr]
    return (_OK,)


def cudaFreeHost(ptr: int) -> tuple[Any, ...]:
    del ALIVE[ptr]
    return (_OK,)


def cudaStreamCreateWithFlags(flags: int) -> tuple[Any, ...]:
    stream = next(_NEXT)
    STREAMS[stream] = []
    return _OK, stream


def cudaStreamSynchronize(stream: int) -> tuple[Any, ...]:
    for work in STREAMS[stream]:
        work()
    STREAMS[stream].clear()
    return (cudaError_t.cudaErrorIllegalAddress if "cudaStreamSynchronize" in failing else _OK,)


def cudaStreamDestroy(stream: int) -> tuple[Any, ...]:
    del STREAMS[stream]
    return (_OK,)


def cudaMemcpyAsync(dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: int) -> tuple[Any, ...]:
    assert ctypes.sizeof(ALIVE[dst]) == ctypes.sizeof(ALIVE[src]) == count
    STREAMS[stream].append(lambda: ctypes.memmove(dst, src, count) and None)
    return (_OK,)
