"""Observe: one stream's records to findings, where they land. Three halves of the corridor, one for each stream."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from stream import ingest
from stream.checkpoint import Owners
from stream.drifting import WardAnswers, of_beds
from stream.imagestore import ImageStore
from stream.ingest import EcgChunks
from stream.modelslot import ModelSlot
from stream.overload import Relief, nothing
from stream.patients import NO_ROW, PatientRows
from stream.pipeline import Products
from stream.pixels import Pixels
from stream.scoring import (
    Scored,
    Scorer,
    Ward,
    Windows,
    beat_windows,
    glucose_windows,
    image_windows,
    recent_windows,
    rhythm_windows,
)
from stream.topics import PARTITIONS
from vitals.errors import Reason, Unusable
from vitals.events import Checkpoint, ImagingEvent, Record
from vitals.findings import Task, Verdict
from vitals.sources import ANY
from vitals.windows.ecg import RECENT_EVERY_S, EcgWindows
from vitals.windows.glucose import GlucoseWindows
from vitals.windows.glucose import Outcome as ReadingOutcome
from vitals.windows.image import image_window

_REFUSED_BY_OUTCOME: Final = {1: Reason.DUPLICATE, 2: Reason.TOO_LATE}
_OUTCOMES: Final = {ReadingOutcome.DUPLICATE: Reason.DUPLICATE, ReadingOutcome.TOO_LATE: Reason.TOO_LATE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observing:
    """What the halves are told: most rows of state, how far ahead an event time may be, share of windows archived, and
    what to give up in a batch, from the broker time of its oldest record.
    """

    max_patients: int
    clock_ahead_us: int
    archive_share: float
    relief: Callable[[int], Relief] = nothing


class ObserveEcg:
    """ECG bundles to beat and rhythm findings. State belongs to a gateway on a partition."""

    stream: Final = "ecg"
    batch_records: Final = 10_000
    remembers_s: Final = 60.0

    def __init__(self, slots: Mapping[Task, ModelSlot], told: Observing) -> None:
        self._windows = EcgWindows()
        self._patients = PatientRows(self._windows, max_patients=told.max_patients, partitions=PARTITIONS)
        ours = {task: slots[task] for task in (Task.ECG_BEAT, Task.ECG_AF) if task in slots}
        self._scorer = Scorer(ours, told.archive_share)
        self._reads_recent = Task.ECG_AF in ours
        self._answers = WardAnswers("ecg")
        self._clock_ahead_us = told.clock_ahead_us
        self._relief = told.relief

    def process(self, records: Sequence[Record], owners: Owners) -> Products:
        """See ``Half``."""
        products = Products([None] * len(records))
        chunks: list[EcgChunks] = []
        rows: list[npt.NDArray[np.int32]] = []
        arrived_ms: list[int] = []
        for i, record in enumerate(records):
            usable, refusals = ingest.ecg_chunks(record, self._clock_ahead_us)
            if usable is not None:
                owner = f"ecg/{record.partition}/{usable.gateway}"
                products.owners[i] = owner
                if owners.covers(owner, record.topic, record.offset):
                    continue
                chunks.append(usable)
                rows.append(self._patients.rows_of(owner, usable.patients))
                arrived_ms.append(record.timestamp_ms)
            products.refuse(refusals)
        if chunks:
            self._advance(chunks, rows, arrived_ms, records[0].partition, products)
        return products

    def tick(self, now_us: int) -> Products | None:
        """See ``Half``."""
        self._scorer.between_batches()
        return None

    def patients(self) -> int:
        return self._patients.count

    def snapshot(self, owner: str) -> bytes:
        return self._patients.snapshot(owner)

    def restore(self, checkpoint: Checkpoint) -> None:
        self._patients.restore(checkpoint.owner, checkpoint.state)

    def forget(self) -> None:
        self._patients.forget()

    def _advance(
        self,
        chunks: list[EcgChunks],
        rows: list[npt.NDArray[np.int32]],
        arrived_ms: list[int],
        source_partition: int,
        products: Products,
    ) -> None:
        row = np.concatenate(rows)
        sizes = [len(r) for r in rows]
        input_ms = np.repeat(np.array(arrived_ms, np.int64), sizes)
        start_us, rate_hz, n_leads, gain_uv, n_samples, samples = (
            np.concatenate([getattr(c, name) for c in chunks])
            for name in ("start_us", "rate_hz", "n_leads", "gain_uv", "n_samples", "samples")
        )
        relief = self._relief(min(arrived_ms))
        salt = self._patients.salt
        carried = row != NO_ROW
        phase = (salt[row] % RECENT_EVERY_S).astype(np.uint8)
        keep = carried & (salt[row] >= relief.unwatched * 2**32)
        if not keep.all():
            products.refused[Reason.CAPACITY] += int((~carried).sum())
            products.refused[Reason.OVERLOAD] += int((carried & ~keep).sum())
            samples = samples[np.repeat(keep, n_samples.astype(np.int64) * n_leads)]
            row, input_ms, phase = row[keep], input_ms[keep], phase[keep]
            start_us, rate_hz, n_leads = start_us[keep], rate_hz[keep], n_leads[keep]
            gain_uv, n_samples = gain_uv[keep], n_samples[keep]
        step = self._windows.advance(row, start_us, rate_hz, n_leads, gain_uv, n_samples, samples, phase)
        for code, reason in _REFUSED_BY_OUTCOME.items():
            products.refused[reason] += int((step.outcome == code).sum())
        products.refused[Reason.WINDOW_CUT] += int(step.cut.sum())
        products.scored += int(step.scored.sum())
        products.waiting = self._windows.waiting
        ward = Ward(self._patients.names, self._patients.partition, self._patients.salt, self._patients.source)
        scored = Scored()
        for beats, by_model in _unscored(beat_windows(step.beats, input_ms), salt, relief):
            self._scorer.score(beats, ward, source_partition, scored, by_model=by_model)
        self._scorer.score(rhythm_windows(step.rhythm, input_ms), ward, source_partition, scored)
        for recent, by_model in _unscored(recent_windows(step.recent, input_ms), salt, relief):
            if by_model and self._reads_recent:
                self._scorer.score(recent, ward, source_partition, scored)
        add(products, scored, np.unique(input_ms[step.rhythm.chunk]).tolist())
        for notice, partition in of_beds(step.changes, self.stream, Task.ECG_BEAT, ward):
            products.tell_drift(notice, partition)
        until_us = max(windows.end_us.max(initial=0) for windows in (step.beats, step.rhythm))
        _weigh_answers(self._answers, int(until_us), products)


class ObserveGlucose:
    """Readings to glucose findings. State belongs to a partition."""

    stream: Final = "glucose"
    batch_records: Final = 10_000
    remembers_s: Final = 6 * 3600.0

    def __init__(self, slot: ModelSlot, told: Observing) -> None:
        self._windows = GlucoseWindows()
        self._patients = PatientRows(self._windows, max_patients=told.max_patients, partitions=PARTITIONS)
        self._scorer = Scorer({Task.GLUCOSE: slot}, told.archive_share)
        self._answers = WardAnswers("glucose")
        self._clock_ahead_us = told.clock_ahead_us

    def process(self, records: Sequence[Record], owners: Owners) -> Products:
        """See ``Half``."""
        owner_of = [f"glucose/{record.partition}" for record in records]
        products = Products(list(owner_of))
        fresh = [
            record
            for record, owner in zip(records, owner_of, strict=True)
            if not owners.covers(owner, record.topic, record.offset)
        ]
        readings, refusals = ingest.readings(fresh, self._clock_ahead_us)
        products.refuse(refusals)
        if not readings.patients:
            return products
        source = [fresh[i] for i in readings.record]
        row = np.array(
            [
                self._patients.rows_of(f"glucose/{record.partition}", [patient])[0]
                for record, patient in zip(source, readings.patients, strict=True)
            ],
            np.int32,
        )
        keep = row != NO_ROW
        products.refused[Reason.CAPACITY] += int((~keep).sum())
        row, time_us, glucose_mg_dl = row[keep], readings.time_us[keep], readings.glucose_mg_dl[keep]
        input_ms = np.array([record.timestamp_ms for record in source], np.int64)[keep]
        step = self._windows.advance(row, time_us, glucose_mg_dl)
        for outcome, reason in _OUTCOMES.items():
            products.refused[reason] += int((step.outcome == outcome).sum())
        products.scored += len(step.windows)
        ward = Ward(self._patients.names, self._patients.partition, self._patients.salt, self._patients.source)
        scored = Scored()
        windows = glucose_windows(step, row, glucose_mg_dl, input_ms)
        self._scorer.score(windows, ward, records[0].partition, scored)
        add(products, scored, windows.input_ms.tolist())
        for notice, partition in of_beds(step.changes, self.stream, Task.GLUCOSE, ward):
            products.tell_drift(notice, partition)
        _weigh_answers(self._answers, int(step.end_us.max(initial=0)), products)
        return products

    def tick(self, now_us: int) -> Products | None:
        """See ``Half``."""
        self._scorer.between_batches()
        return None

    def patients(self) -> int:
        return self._patients.count

    def snapshot(self, owner: str) -> bytes:
        self._patients.rows_of(owner, [])
        return self._patients.snapshot(owner)

    def restore(self, checkpoint: Checkpoint) -> None:
        self._patients.restore(checkpoint.owner, checkpoint.state)

    def forget(self) -> None:
        self._patients.forget()


class ObserveImaging:
    """Images to imaging findings. The state of a partition is which images came last, to know a second copy."""

    stream: Final = "imaging"
    batch_records: Final = 8
    """Fetched together and at a deadline of seconds, then unpacked for up to a second each."""
    remembers_s: Final = 0.0

    def __init__(self, slots: Mapping[Task, ModelSlot], store: ImageStore, told: Observing) -> None:
        self._scorer = Scorer(slots, told.archive_share)
        self._answers = WardAnswers("imaging")
        self._store = store
        self._clock_ahead_us = told.clock_ahead_us
        self._seen: dict[str, _Seen] = {}

    def process(self, records: Sequence[Record], owners: Owners) -> Products:
        """See ``Half``."""
        products = Products([f"imaging/{record.partition}" for record in records])
        usable: list[tuple[Record, ImagingEvent, Task]] = []
        for record in records:
            if owners.covers(f"imaging/{record.partition}", record.topic, record.offset):
                continue
            try:
                event = ingest.image_event(record, self._clock_ahead_us)
                usable.append((record, event, task_of(event)))
            except Unusable as why:
                products.refuse([ingest.refuse(record, why)])
        taken: dict[Task, list[tuple[Record, ImagingEvent, npt.NDArray[np.float32]]]] = {}
        pixels = self._store.pixels([event for _, event, _ in usable])
        for (record, event, task), seen in zip(usable, pixels, strict=True):
            try:
                picture = self._picture(record, event, seen)
            except Unusable as why:
                products.refuse([ingest.refuse(record, why)])
            else:
                taken.setdefault(task, []).append((record, event, picture))
        for task, images in taken.items():
            self._score(task, images, products)
        _weigh_answers(self._answers, max((event.time_us for _, event, _ in usable), default=0), products)
        return products

    def tick(self, now_us: int) -> Products | None:
        """See ``Half``."""
        self._scorer.between_batches()
        return None

    def patients(self) -> int:
        return 0

    def snapshot(self, owner: str) -> bytes:
        return self._seen.setdefault(owner, _Seen()).snapshot()

    def restore(self, checkpoint: Checkpoint) -> None:
        self._seen[checkpoint.owner] = _Seen.restored(checkpoint.state)

    def forget(self) -> None:
        self._seen.clear()

    def _picture(self, record: Record, event: ImagingEvent, seen: Pixels | Unusable) -> npt.NDArray[np.float32]:
        if isinstance(seen, Unusable):
            raise seen
        picture = image_window(seen)
        if not self._seen.setdefault(f"imaging/{record.partition}", _Seen()).is_new(event):
            raise Unusable(Reason.DUPLICATE)
        return picture

    def _score(
        self, task: Task, images: list[tuple[Record, ImagingEvent, npt.NDArray[np.float32]]], products: Products
    ) -> None:
        names = [event.patient for _, event, _ in images]
        salt = np.array([crc32(name.encode()) for name in names], np.uint32)
        ward = Ward(names, (salt % PARTITIONS).astype(np.int32), salt, np.full(len(names), ANY, np.uint32))
        windows = image_windows(
            task,
            np.arange(len(images), dtype=np.int32),
            np.array([event.time_us for _, event, _ in images], np.int64),
            np.array([record.timestamp_ms for record, _, _ in images], np.int64),
            np.full(len(images), Verdict.GOOD, np.uint8),
            np.stack([picture for _, _, picture in images]),
            [event.instance for _, event, _ in images],
        )
        scored = Scored()
        self._scorer.score(windows, ward, images[0][0].partition, scored)
        products.scored += len(images)
        add(products, scored, windows.input_ms.tolist())


def _unscored(windows: Windows, salt: npt.NDArray[np.uint32], relief: Relief) -> list[tuple[Windows, bool]]:
    """``windows`` in those that a model sees, and those that it is spared."""
    if relief.unscored == 0.0:
        return [(windows, True)]
    seen = salt[windows.row] >= relief.unscored * 2**32
    return [(windows.only(seen), True), (windows.only(~seen), False)]


def task_of(event: ImagingEvent) -> Task:
    """Which network reads this image. Raises ``Unusable`` (no-model)."""
    region = event.body_part.strip().upper()
    if event.modality in {"CR", "DX", "XR"} and region in {"CHEST", "THORAX", "LUNG"}:
        return Task.PNEUMONIA
    if event.modality == "US" and region == "BREAST":
        return Task.BREAST
    raise Unusable(Reason.NO_MODEL)


_KEPT_DIGESTS: Final = 4096
_Digest = Annotated[bytes, Meta(min_length=8, max_length=8)]
_Digests = Annotated[list[_Digest], Meta(max_length=_KEPT_DIGESTS)]


class _Seen:
    """Digests of the last images of a partition."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def is_new(self, event: ImagingEvent) -> bool:
        """Whether this image did not come before; from now on it did."""
        name = "\0".join((event.patient, event.study, event.series, event.instance)).encode()
        digest = hashlib.blake2b(name, digest_size=8).digest()
        if digest in self._digests:
            return False
        self._digests[digest] = None
        if len(self._digests) > _KEPT_DIGESTS:
            self._digests.popitem(last=False)
        return True

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode(list(self._digests))

    @classmethod
    def restored(cls, state: bytes) -> _Seen:
        seen = cls()
        try:
            seen._digests.update((digest, None) for digest in msgspec.msgpack.decode(state, type=_Digests))
        except msgspec.DecodeError as error:
            raise ValueError("not a list of digests") from error
        return seen


def _weigh_answers(answers: WardAnswers, until_us: int, products: Products) -> None:
    """What was said in this batch, of windows up to ``until_us``."""
    for notice in answers.take(products.said, until_us):
        products.tell_drift(notice)
    products.stability = answers.index


def add(products: Products, scored: Scored, completed_ms: list[int]) -> None:
    """Hand on what was scored."""
    products.messages.extend(scored.messages())
    products.findings += scored.findings
    products.batches.extend(scored.batches)
    products.said += scored.said
    products.paired += scored.paired
    products.completed_ms.extend(completed_ms)
