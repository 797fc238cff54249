"""What serving saw and what people said of it: ``windows.v1`` and ``labels.v1`` read from the broker, from the oldest
record to the newest one of the moment the reading began.

Archived windows are the network's own inputs, to the bit. They need no cutting, only a label, and the two are joined on
(patient, task, end time).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from vitals.codec import content_type, decode
from vitals.errors import Fault, Unusable
from vitals.events import Label, Tensor, WindowArchive, Wire

_POLL_MS: Final = 1000
_ANSWERS_MS: Final = 5000
_SILENCE_POLLS: Final = 30
"""Half a minute without a record before the end of the log: the broker is gone."""

W = TypeVar("W", bound=Wire)
Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class ArchivedWindow:
    """One window as it was scored. ``inputs``: named tensors without the batch axis."""

    patient: str = field(repr=False)
    end_us: int
    spec: str
    inputs: dict[str, Array] = field(repr=False)


@dataclass(slots=True)
class Archive:
    """The archive of one task. ``label``: newest word per (patient, end time). ``unreadable``: records left out."""

    windows: list[ArchivedWindow] = field(default_factory=list, repr=False)
    label: dict[tuple[str, int], str] = field(default_factory=dict, repr=False)
    unreadable: int = 0


def archive(bootstrap: str, task: str, windows_topic: str, labels_topic: str) -> Archive:
    """Everything of ``task`` that the two topics hold now. Raises ``Fault`` when the broker cannot be read.

    A window that was archived twice (a replay) is taken once; of two labels of one window the later one counts.
    """
    made = Archive()
    seen: set[tuple[str, int]] = set()
    for batch in _records(bootstrap, windows_topic, WindowArchive, made):
        if batch.task != task:
            continue
        try:
            tensors = {name: array(tensor) for name, tensor in batch.inputs.items()}
            rows = [(p, e, {k: v[i] for k, v in tensors.items()}) for i, (p, e) in enumerate(_ids(batch))]
        except (ValueError, IndexError):
            made.unreadable += 1
            continue
        for patient, end_us, inputs in rows:
            if (patient, end_us) not in seen:
                seen.add((patient, end_us))
                made.windows.append(ArchivedWindow(patient, end_us, batch.spec, inputs))
    said_us: dict[tuple[str, int], int] = {}
    for label in _records(bootstrap, labels_topic, Label, made):
        window = (label.patient, label.end_us)
        if label.task == task and label.when_us >= said_us.get(window, 0):
            said_us[window] = label.when_us
            made.label[window] = label.value
    return made


def array(tensor: Tensor) -> Array:
    """The array of a tensor on the wire. Raises ``ValueError`` when shape and bytes do not fit."""
    little: Array = np.frombuffer(tensor.data, dtype=np.dtype(tensor.dtype).newbyteorder("<"))
    return little.astype(tensor.dtype).reshape(tensor.shape)


def record_count(bootstrap: str, topic: str) -> int:
    """How many records ``topic`` has ever taken. Raises ``Fault``."""
    try:
        with closing(KafkaConsumer(bootstrap_servers=bootstrap, bootstrap_timeout_ms=_ANSWERS_MS)) as consumer:
            return sum(consumer.end_offsets(_partitions(consumer, topic)).values())
    except KafkaError as error:
        raise Fault(f"{topic} cannot be read: {type(error).__name__}") from None


def _ids(batch: WindowArchive) -> list[tuple[str, int]]:
    return list(zip(batch.patients, batch.end_us, strict=True))


def _records(bootstrap: str, topic: str, kind: type[W], made: Archive) -> Iterator[W]:
    try:
        with closing(
            KafkaConsumer(bootstrap_servers=bootstrap, bootstrap_timeout_ms=_ANSWERS_MS, enable_auto_commit=False)
        ) as consumer:
            partitions = _partitions(consumer, topic)
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            end = consumer.end_offsets(partitions)
            silent = 0
            while any(consumer.position(p) < end[p] for p in partitions):
                polled = consumer.poll(timeout_ms=_POLL_MS)
                silent = 0 if polled else silent + 1
                if silent > _SILENCE_POLLS:
                    raise Fault(f"{topic} went silent before its end")
                for partition, records in polled.items():
                    for record in records:
                        if record.offset >= end[partition]:
                            break
                        if record.value is None:
                            continue
                        try:
                            yield decode(kind, record.value, content_type(record.headers))
                        except Unusable:
                            made.unreadable += 1
    except KafkaError as error:
        raise Fault(f"{topic} cannot be read: {type(error).__name__}") from None


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise Fault(f"the broker has no topic {topic}")
    return [TopicPartition(topic, number) for number in sorted(numbers)]
