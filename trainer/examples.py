"""Recordings to examples: windows cut by the code that serving cuts with, each with what was true of it.

Axes: N examples, P people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from trainer.corpus.archive import Archive, ArchivedWindow
from trainer.corpus.clips import Clip
from trainer.corpus.ecg import START_US, EcgRecord
from trainer.corpus.glucose import GlucosePerson
from trainer.corpus.imaging import GreyImages
from trainer.labels import (
    BEAT_CLASSES,
    CLIP_CLASS,
    LEFT_OUT,
    PACED,
    beat_targets,
    class_of,
    first_truth_us,
    future_mg_dl,
)
from trainer.pseudonyms import Pseudonyms
from vitals.findings import BEAT_AFTER_R_US, FORECAST_HORIZONS_MIN, Task, Verdict
from vitals.units import US_PER_S
from vitals.windows import ecg, glucose, image

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

SPEC: Final[dict[Task, str]] = {
    Task.ECG_BEAT: ecg.BEAT_SPEC,
    Task.GLUCOSE: glucose.SPEC,
    Task.PNEUMONIA: image.SPEC,
    Task.BREAST: image.SPEC,
    Task.ECG_AF: ecg.RECENT_SPEC,
}

WARD: Final = "ward/"
"""How the pseudonyms of people who are in no public set begin."""

NOT_BELIEVED: Final = "signal not believed"
EC57: Final = "left out by EC57 (flutter, paced)"
NO_FUTURE: Final = "future not known"
SPARED: Final = "more than the recipe takes"
OTHER_SPEC: Final = "window of another spec"
NO_LABEL: Final = "no label"
NO_SUCH_CLASS: Final = "label that is no class of the task"
ERASED: Final = "erased"
"""Why a window became no example."""

_CHUNK_S: Final = 1
_CHUNKS_PER_CALL: Final = 120
_BEFORE_END_S: Final = (0, 5, 10, 15, 25)
_LEAST_CLIP_S: Final = 9
FLAT: Final = np.uint64(0)
"""The fingerprint of windows that are too flat to tell anybody by."""
_FLAT: Final = 0.02
"""Standard deviation of a window below which two people may well have the same one."""
_BELIEVED: Final = int(Verdict.POOR)


@dataclass(frozen=True, slots=True)
class PersonExamples:
    """One person's examples, ordered by time.

    ``inputs``: the network's named tensors, [N, …]. ``target``: int64[N] class (or ``NO_BEAT``), or float32[N, 12]
    glucose in mg/dL at each horizon, NaN where it is not known. ``end_us``: int64[N]. ``lost``: int64[K], reference
    beats of each class that became no window. ``prints``: uint64[…], ``fingerprints`` of all windows of this person,
    chosen here or not. ``truth_us``: int64[N], of forecasts: when the first reading was taken that the target leans on.
    ``excluded``: windows that became no example, by reason.
    ``traits``: what is known of them, ``age=60-69;sex=f;lead=MLII``; empty where it is nothing.
    """

    person: str
    inputs: dict[str, Array] = field(repr=False)
    target: Array = field(repr=False)
    end_us: Ints = field(repr=False)
    lost: Ints = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    prints: npt.NDArray[np.uint64] = field(repr=False, default_factory=lambda: np.zeros(0, np.uint64))
    truth_us: Ints = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    excluded: Counter[str] = field(default_factory=Counter)
    traits: str = field(repr=False, default="")

    def __len__(self) -> int:
        return len(self.end_us)

    def of(self, rows: Ints) -> PersonExamples:
        """The examples at ``rows``; what is known of the whole person stays."""
        inputs = {name: tensor[rows] for name, tensor in self.inputs.items()}
        truth_us = self.truth_us[rows] if len(self.truth_us) else self.truth_us
        return replace(self, inputs=inputs, target=self.target[rows], end_us=self.end_us[rows], truth_us=truth_us)


def of_ecg(record: EcgRecord) -> PersonExamples:
    """The beats of one record, sent through the live path in one-second chunks."""
    windows = ecg.EcgWindows()
    row = windows.add(1)
    n_leads, n = record.samples.shape
    per_chunk = round(record.rate_hz * _CHUNK_S)
    first_sample = np.arange(0, n - per_chunk + 1, per_chunk, dtype=np.int64)
    beats = []
    for begin in range(0, len(first_sample), _CHUNKS_PER_CALL):
        first = first_sample[begin : begin + _CHUNKS_PER_CALL]
        c = len(first)
        block = record.samples[:, first[0] : first[-1] + per_chunk].reshape(n_leads, c, per_chunk)
        step = windows.advance(
            np.repeat(row, c).astype(np.int32),
            START_US + np.rint(first * (US_PER_S / record.rate_hz)).astype(np.int64),
            np.full(c, record.rate_hz),
            np.full(c, n_leads, np.int32),
            np.full(c, record.gain_uv),
            np.full(c, per_chunk, np.int32),
            np.ascontiguousarray(block.transpose(1, 0, 2)).ravel(),
        )
        beats.append(step.beats)
    ecg_mv = np.concatenate([b.ecg_mv for b in beats])
    context = np.concatenate([b.context for b in beats])
    end_us = np.concatenate([b.end_us for b in beats])
    verdict = np.concatenate([b.verdict for b in beats])
    target, lost = beat_targets(end_us - BEAT_AFTER_R_US, record.beat_us, record.symbol, paced=record.person in PACED)
    disbelieved = (verdict > _BELIEVED) & (target >= 0)  # the live path says nothing of these: as good as undetected
    lost += np.bincount(target[disbelieved], minlength=len(BEAT_CLASSES))
    taught, believed = target != LEFT_OUT, verdict <= _BELIEVED
    kept = taught & believed
    inputs: dict[str, Array] = {"ecg_mv": ecg_mv[kept], "context": context[kept]}
    return PersonExamples(
        record.person,
        inputs,
        target[kept].astype(np.int64),
        end_us[kept],
        lost.astype(np.int64),
        excluded=_counted({EC57: (~taught).sum(), NOT_BELIEVED: (taught & ~believed).sum()}),
        traits=record.traits,
    )


def of_clip(clip: Clip) -> PersonExamples:
    """The windows of recent beats at the end of a clip and some seconds before, each with the label of the clip."""
    windows = ecg.EcgWindows()
    row = windows.add(1)
    per_chunk = round(clip.rate_hz * _CHUNK_S)
    seconds = clip.samples.shape[1] // per_chunk
    ends = sorted({seconds - back for back in _BEFORE_END_S if back == 0 or seconds - back >= _LEAST_CLIP_S})
    parts, begin = [], 0
    for end in ends:
        first = np.arange(begin, end, dtype=np.int64) * per_chunk
        c = len(first)
        windows.advance(
            np.repeat(row, c).astype(np.int32),
            START_US + np.rint(first * (US_PER_S / clip.rate_hz)).astype(np.int64),
            np.full(c, clip.rate_hz),
            np.full(c, 1, np.int32),
            np.full(c, clip.gain_uv),
            np.full(c, per_chunk, np.int32),
            clip.samples[0, begin * per_chunk : end * per_chunk],
        )
        parts.append(windows.newest(row))
        begin = end
    return PersonExamples(
        clip.person,
        {"beats": np.concatenate([p.beats for p in parts]), "context": np.concatenate([p.context for p in parts])},
        np.full(len(parts), CLIP_CLASS[clip.label], np.int64),
        np.concatenate([p.end_us for p in parts]),
        np.zeros(len(CLIP_CLASS), np.int64),
    )


def of_glucose(person: GlucosePerson, max_windows: int = 0) -> PersonExamples:
    """The windows of one person that a forecast can be made of and whose future is known at one horizon or more."""
    windows = glucose.GlucoseWindows()
    row = windows.add(1)
    step = windows.advance(np.repeat(row, len(person.time_us)), person.time_us, person.glucose_mg_dl)
    taken = step.outcome == int(glucose.Outcome.TAKEN)
    target = future_mg_dl(step.end_us, person.time_us[taken], person.glucose_mg_dl[taken].astype(np.float64))
    believed, known = step.verdict <= _BELIEVED, ~np.isnan(target).all(axis=1)
    usable = np.flatnonzero(believed & known)
    chosen = evenly(usable, max_windows)
    return PersonExamples(
        person.person,
        {"glucose": step.glucose[chosen]},
        target[chosen],
        step.end_us[chosen],
        prints=fingerprints(step.glucose[usable]),
        truth_us=first_truth_us(step.end_us[chosen], person.time_us[taken]),
        excluded=_counted(
            {
                NOT_BELIEVED: (~believed).sum(),
                NO_FUTURE: (believed & ~known).sum(),
                SPARED: len(usable) - len(chosen),
            }
        ),
    )


def of_images(images: GreyImages) -> Iterator[PersonExamples]:
    """One example for each image."""
    for person, pixels, label in zip(images.person, images.pixels, images.label, strict=True):
        window = image.image_window(pixels)[np.newaxis]
        yield PersonExamples(
            person, {"image": window}, np.array([label]), np.zeros(1, np.int64), prints=fingerprints(window)
        )


def of_archive(
    archive: Archive, task: Task, pseudonyms: Pseudonyms, *, max_windows: int = 0, erased: Collection[str] = ()
) -> Iterator[PersonExamples]:
    """What the archive holds of ``task``: labelled windows; for glucose, windows whose future other windows tell.

    People leave it under their pseudonyms, at times shifted by their own constant; those in ``erased`` (pseudonyms too)
    not at all.
    """
    of_everyone = sorted(archive.windows, key=lambda w: (w.patient, w.end_us))
    for patient, group in groupby(of_everyone, key=lambda w: w.patient):
        every = list(group)
        fitting = [window for window in every if window.spec == SPEC[task]]
        name = person_of(patient, pseudonyms)
        if name in erased:
            yield _nothing(name, task, Counter({ERASED: len(every)}))
            continue
        if task is Task.GLUCOSE:
            made = _forecast_examples(name, fitting, max_windows)
        else:
            made = _labelled_examples(name, fitting, archive, task)
        shift_us = pseudonyms.shift_us(patient)
        yield replace(
            made,
            end_us=made.end_us + shift_us,
            truth_us=made.truth_us + shift_us,
            excluded=made.excluded + _counted({OTHER_SPEC: len(every) - len(fitting)}),
        )


def person_of(patient: str, pseudonyms: Pseudonyms) -> str:
    """The name of a patient in datasets, which are kept on disk."""
    return f"{WARD}{pseudonyms.name(patient)}"


def fingerprints(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """uint64[…]: a number for each of ``windows`` [N, …] that is not nearly flat; equal windows have equal numbers."""
    every = marks(windows)
    telling: npt.NDArray[np.uint64] = every[every != FLAT]
    return telling


def marks(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """uint64[N]: the fingerprint of each of ``windows`` [N, …], ``FLAT`` for those that could be anybody's."""
    rows = np.ascontiguousarray(windows.reshape(len(windows), -1))
    factors = np.random.default_rng(0).integers(1, 2**63, rows.shape[1], dtype=np.uint64) | np.uint64(1)
    with np.errstate(over="ignore"):
        made: npt.NDArray[np.uint64] = (rows.view(np.uint32).astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
    made[rows.std(axis=1) <= _FLAT] = FLAT
    return made


def evenly(indices: Ints, at_most: int) -> Ints:
    """At most so many of ``indices``, evenly spaced; 0 keeps all."""
    if not at_most or len(indices) <= at_most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, at_most).round().astype(np.int64)]


def _labelled_examples(person: str, windows: Sequence[ArchivedWindow], archive: Archive, task: Task) -> PersonExamples:
    words = [archive.label.get((window.patient, window.end_us)) for window in windows]
    targets = [None if word is None else class_of(task, word) for word in words]
    labelled = [(window, target) for window, target in zip(windows, targets, strict=True) if target is not None]
    inputs = _stacked([window for window, _ in labelled])
    return PersonExamples(
        person,
        inputs,
        np.array([target for _, target in labelled], dtype=np.int64),
        np.array([window.end_us for window, _ in labelled], dtype=np.int64),
        _no_lost(task),
        prints=fingerprints(inputs["image"]) if "image" in inputs else np.zeros(0, np.uint64),
        excluded=_counted({NO_LABEL: words.count(None), NO_SUCH_CLASS: len(words) - words.count(None) - len(labelled)}),
    )


def _forecast_examples(person: str, windows: Sequence[ArchivedWindow], max_windows: int) -> PersonExamples:
    """Every window also tells what the readings of its last four hours were: together they are the later truth."""
    if not windows:
        return _nothing(person, Task.GLUCOSE, Counter())
    ago_us = np.arange(glucose.STEPS - 1, -1, -1, dtype=np.int64) * glucose.STEP_US
    told: dict[int, float] = {}
    for window in windows:
        grid = window.inputs["glucose"]
        for at in np.flatnonzero(grid[:, 1] == 1.0):
            told.setdefault(int(window.end_us - ago_us[at]), float(grid[at, 0]) * glucose.SCALE_MG_DL)
    time_us = np.array(sorted(told), dtype=np.int64)
    end_us = np.array([window.end_us for window in windows], dtype=np.int64)
    target = future_mg_dl(end_us, time_us, np.array([told[t] for t in time_us.tolist()]))
    known = np.flatnonzero(~np.isnan(target).all(axis=1))
    usable = evenly(known, max_windows)
    every = _stacked(windows)
    return PersonExamples(
        person,
        {name: tensor[usable] for name, tensor in every.items()},
        target[usable].reshape(-1, len(FORECAST_HORIZONS_MIN)),
        end_us[usable],
        prints=fingerprints(every["glucose"]),
        truth_us=first_truth_us(end_us[usable], time_us),
        excluded=_counted({NO_FUTURE: len(windows) - len(known), SPARED: len(known) - len(usable)}),
    )


def _nothing(person: str, task: Task, excluded: Counter[str]) -> PersonExamples:
    none = np.zeros(0, np.int64)
    return PersonExamples(person, {}, none, none, _no_lost(task), excluded=excluded)


def _no_lost(task: Task) -> Ints:
    return np.zeros(len(BEAT_CLASSES) if task is Task.ECG_BEAT else 0, np.int64)


def _stacked(windows: Sequence[ArchivedWindow]) -> dict[str, Array]:
    names = windows[0].inputs if windows else ()
    return {name: np.stack([window.inputs[name] for window in windows]) for name in names}


def _counted(reasons: Mapping[str, int | np.integer[Any]]) -> Counter[str]:
    return Counter({reason: int(n) for reason, n in reasons.items() if n})
