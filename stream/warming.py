"""Everything compiled and run once before the worker joins its group: no patient waits for a compiler.

A few simulated seconds go through the same halves that will serve, in instances of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream.checkpoint import Owners
from stream.deciding import Decide
from stream.modelslot import ModelSlot
from stream.observing import ObserveEcg, ObserveGlucose, Observing
from stream.pipeline import Half
from stream.topics import Topic
from vitals import codec
from vitals.events import EcgBundle, GlucoseReading, Record
from vitals.findings import Task
from vitals.simulate import Rhythm, Stretch, ecg
from vitals.units import EARLIEST_US, US_PER_S

_SECONDS = 12
_TOLD = Observing(max_patients=2, clock_ahead_us=2**61, archive_share=0.0)
_PATIENT = "nobody"


def warm(slots: Mapping[Task, ModelSlot]) -> None:
    """Run observe and decide over simulated seconds. ``slots`` are not asked: their engines warm themselves."""
    silent = {task: ModelSlot(task, slot.window, lambda _: None) for task, slot in slots.items()}
    observed: list[tuple[Half, Record]] = [
        (ObserveEcg(silent, _TOLD), _record(Topic.ECG, codec.encode(_chunk()))),
        (ObserveGlucose(silent[Task.GLUCOSE], _TOLD), _record(Topic.GLUCOSE, codec.encode(_reading()))),
    ]
    decide, owners = Decide(), Owners(0)
    for half, record in observed:
        products = half.process([record], owners)
        half.snapshot(products.owners[0] or "")
        found = [m.value for m in products.messages if m.topic is Topic.FINDINGS and m.value is not None]
        decide.process([_record(Topic.FINDINGS, value) for value in found], owners)
    decide.tick(EARLIEST_US + _SECONDS * US_PER_S)
    decide.snapshot("decide/0")


def _record(topic: Topic, value: bytes) -> Record:
    return Record(topic.value, 0, 0, 0, None, value)


def _chunk() -> EcgBundle:
    heart = ecg(1, [Stretch(Rhythm.SINUS, _SECONDS)])
    return EcgBundle(
        gateway=_PATIENT,
        sequence=0,
        patients=[_PATIENT],
        devices=[_PATIENT],
        start_us=[EARLIEST_US],
        rate_hz=[heart.rate_hz],
        leads=[["I", "II"]],
        gain_uv=[heart.gain_uv],
        n_samples=[heart.samples.shape[1]],
        samples=np.ascontiguousarray(heart.samples, "<i2").tobytes(),
    )


def _reading() -> GlucoseReading:
    return GlucoseReading(patient=_PATIENT, device=_PATIENT, time_us=EARLIEST_US, glucose=100.0)
