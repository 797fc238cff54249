"""The newest image of each kind of each bed, in memory as it came; and on demand what its model goes by in it.

Decoding and explaining cost a tenth of a second and more: they are done when somebody looks, never on the server's
thread. Fetching keeps to the same addresses, sizes and deadlines as the live path.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

from models.calibration import calibrated
from models.engine import Arrays, Engine
from models.engines.onnx import open_onnx
from models.explain import occluded
from models.registry import Bundle, Registry
from stream import ingest
from stream.imagestore import ImageStore
from stream.observing import task_of
from stream.pixels import Pixels
from stream.web.beds import LOOKED_FOR
from stream.web.tiles import PictureShown
from vitals.errors import Unusable, WardwatchError
from vitals.events import Record
from vitals.findings import Task
from vitals.windows.image import central_square, image_window

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of what events carry themselves. Older images stay in the topic."""
_MOST_SHOWN: Final = 384
"""Pixels along a side; a larger square is made smaller, for the eye."""
_INPUT: Final = "image"
_DIGITS: Final = 4

Key = tuple[str, Task]


class Pictures:
    """``take`` is a reader's thread's, ``shown`` may be asked by one other thread."""

    def __init__(
        self, store: ImageStore, registry: Registry, clock_ahead_us: int, most_bytes: int = MOST_BYTES
    ) -> None:
        self._store = store
        self._clock_ahead_us = clock_ahead_us
        self._registry = registry
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, tuple[int, Record]] = OrderedDict()
        self._size = 0
        self._open: dict[Task, tuple[str, Engine]] = {}

    def take(self, record: Record) -> None:
        """One record of ``imaging.v1``. Raises ``Unusable`` where the live path does: no model here would read it."""
        event = ingest.image_event(record, self._clock_ahead_us)
        key = event.patient, task_of(event)
        with self._lock:
            before_us, before = self._kept.get(key, (event.time_us, None))
            if event.time_us < before_us:
                return
            self._kept[key] = event.time_us, record
            self._kept.move_to_end(key)
            self._size += len(record.value) - (len(before.value) if before is not None else 0)
            while self._size > self._most_bytes:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._size -= len(oldest.value)

    def shown(self, bed: str, task: Task) -> PictureShown | None:
        """The newest image of ``bed`` that ``task`` reads; None when none is known here. Takes its time."""
        with self._lock:
            kept = self._kept.get((bed, task))
        if kept is None:
            return None
        event = ingest.image_event(kept[1], self._clock_ahead_us)
        try:
            pixels = next(self._store.pixels([event]))
            if isinstance(pixels, Unusable):
                raise pixels
            square = _grey(pixels)
            window = image_window(pixels)[np.newaxis]
        except Unusable as why:
            return PictureShown(task, event.time_us, why=f"not evaluated: {why.reason}")
        seen = PictureShown(task, event.time_us, len(square), square.tobytes())
        try:
            return self._explained(seen, task, {_INPUT: window})
        except (WardwatchError, ValueError):
            return msgspec.structs.replace(seen, why="no model can say anything of it now")

    def _explained(self, seen: PictureShown, task: Task, inputs: Arrays) -> PictureShown:
        bundle = self._registry.current(task)
        if bundle is None:
            return msgspec.structs.replace(seen, why="no model serves")
        engine = self._engine_of(bundle)
        column = LOOKED_FOR[task]
        said = calibrated(bundle.manifest, engine.infer(inputs))[0, bundle.manifest.columns.index(column)]
        carried = occluded(bundle, engine, inputs, column)[_INPUT][0]
        return msgspec.structs.replace(
            seen, model=bundle.short, p=float(said), carried=np.round(carried, _DIGITS).tolist()
        )

    def _engine_of(self, bundle: Bundle) -> Engine:
        held = self._open.get(bundle.task)
        if held is not None and held[0] == bundle.hash:
            return held[1]
        if held is not None:
            held[1].close()
        engine = open_onnx(bundle)
        self._open[bundle.task] = bundle.hash, engine
        return engine


def _grey(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """uint8[side, side] for the eye, of the same square and between the same black and white as the model sees."""
    square, low, high = central_square(pixels)
    unit = (square.astype(np.float32) - low) / (high - low)
    grey: npt.NDArray[np.uint8] = np.clip(unit * 255.0, 0.0, 255.0).astype(np.uint8)
    if len(grey) <= _MOST_SHOWN:
        return grey
    return np.array(Image.fromarray(grey).resize((_MOST_SHOWN, _MOST_SHOWN), Image.Resampling.BOX), np.uint8)
