"""Windows to findings: the model's columns where the window can be believed, the measured ones always.

One table per task and findings partition; a window that cannot be believed is a finding too, with its verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stream.calls import calls
from stream.modelslot import ModelSlot, Paired, Scores
from stream.publish import Message, Split, message, split
from stream.topics import Topic
from vitals.events import PairedAnswers, Tensor, WindowArchive
from vitals.findings import COLUMNS, FindingBatch, Findings, Task, Verdict, nullable
from vitals.selftest import is_self_test
from vitals.windows import ecg, glucose, image

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

RULES: Final = "rules"
_ASKED_OF_BOTH: Final = 64
"""Windows of a batch at most that two models are asked about: what a shadow costs does not grow with the ward."""
_HASH_ROW: Final = np.uint64(0x9E3779B97F4A7C15)
_HASH_TIME: Final = np.uint64(0xC2B2AE3D27D4EB4F)


@dataclass(frozen=True, slots=True)
class Ward:
    """Who the rows are (``PatientRows`` has these): names, findings partition, hash and source of each row."""

    names: Sequence[str]
    partition: npt.NDArray[np.int32]
    salt: npt.NDArray[np.uint32]
    source: npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Windows:
    """``n`` windows of one task, whatever they are cut from. ``row``: int32[n]; ``inputs``: the model's tensors [n, …].

    ``measured``: the columns of the finding that need no model, float[n] each. ``ref``: see ``FindingBatch``.
    """

    task: Task
    spec: str
    row: npt.NDArray[np.int32]
    end_us: Ints
    known_us: Ints
    input_ms: Ints
    verdict: npt.NDArray[np.uint8]
    inputs: Mapping[str, npt.NDArray[Any]]
    measured: Mapping[str, Floats]
    ref: Sequence[str] = ()

    def only(self, kept: npt.NDArray[np.bool_]) -> Windows:
        """Some of them."""
        return Windows(
            self.task,
            self.spec,
            self.row[kept],
            self.end_us[kept],
            self.known_us[kept],
            self.input_ms[kept],
            self.verdict[kept],
            {name: array[kept] for name, array in self.inputs.items()},
            {name: array[kept] for name, array in self.measured.items()},
            [ref for ref, good in zip(self.ref, kept.tolist(), strict=True) if good] if self.ref else (),
        )


@dataclass(slots=True)
class Scored:
    """What one step made of its windows: tables by findings partition, archives (of windows, and of what two models
    said of them), how many findings by (task, engine), how many windows by (task, what was said of them), and how many
    of those that two models were asked about by (task, whether both call them the same).
    """

    tables: dict[int, list[FindingBatch]] = field(default_factory=dict)
    archives: list[Message] = field(default_factory=list)
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    batches: list[tuple[str, int]] = field(default_factory=list)
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    paired: Counter[tuple[str, str]] = field(default_factory=Counter)

    def messages(self) -> list[Message]:
        """One record of findings for each partition, then the archives."""
        return [
            *(message(Topic.FINDINGS, Findings(tables=tables), partition=p) for p, tables in self.tables.items()),
            *self.archives,
        ]


def beat_windows(beats: ecg.BeatWindows, input_ms: Ints) -> Windows:
    """Heartbeats; ``input_ms``: int64[chunks], broker time of the record of each chunk."""
    return Windows(
        Task.ECG_BEAT,
        ecg.BEAT_SPEC,
        beats.row,
        beats.end_us,
        beats.known_us,
        input_ms[beats.chunk],
        beats.verdict,
        {"ecg_mv": beats.ecg_mv, "context": beats.context},
        {"rr_pre_ms": beats.rr_pre_ms, "rr_post_ms": beats.rr_post_ms},
    )


def rhythm_windows(rhythm: ecg.RhythmWindows, input_ms: Ints) -> Windows:
    """Seconds of rhythm, which need no model."""
    return Windows(
        Task.ECG_RHYTHM,
        ecg.RHYTHM_SPEC,
        rhythm.row,
        rhythm.end_us,
        rhythm.known_us,
        input_ms[rhythm.chunk],
        rhythm.verdict,
        {},
        {name: getattr(rhythm, name) for name in COLUMNS[Task.ECG_RHYTHM]},
    )


def recent_windows(recent: ecg.RecentBeats, input_ms: Ints) -> Windows:
    """Recent beats of patients; ``input_ms``: int64[chunks], broker time of the record of each chunk."""
    return Windows(
        Task.ECG_AF,
        ecg.RECENT_SPEC,
        recent.row,
        recent.end_us,
        recent.known_us,
        input_ms[recent.chunk],
        recent.verdict,
        {"beats": recent.beats, "context": recent.context},
        {},
    )


def glucose_windows(
    step: glucose.GlucoseStep, row: npt.NDArray[np.int32], glucose_mg_dl: npt.NDArray[np.float32], input_ms: Ints
) -> Windows:
    """Readings; ``row``, ``glucose_mg_dl``, ``input_ms``: [readings], all that were handed to ``advance``."""
    return Windows(
        Task.GLUCOSE,
        glucose.SPEC,
        row[step.windows],
        step.end_us,
        step.end_us,
        input_ms[step.windows],
        step.verdict,
        {"glucose": step.glucose},
        {"glucose_mg_dl": glucose_mg_dl[step.windows], "trend_mg_dl_min": step.trend_mg_dl_min},
    )


def image_windows(
    task: Task,
    row: npt.NDArray[np.int32],
    time_us: Ints,
    input_ms: Ints,
    verdict: npt.NDArray[np.uint8],
    pictures: npt.NDArray[np.float32],
    ref: Sequence[str],
) -> Windows:
    """Pictures: float32[n, 1, 28, 28]."""
    return Windows(task, image.SPEC, row, time_us, time_us, input_ms, verdict, {"image": pictures}, {}, ref)


class Scorer:
    """Turns windows into messages with the models in ``slots``; archives ``archive_share`` of what a model scored."""

    def __init__(self, slots: Mapping[Task, ModelSlot], archive_share: float) -> None:
        self._slots = slots
        self._archive_below = np.uint64(min(int(archive_share * 2.0**64), 2**64 - 1))
        self._archives = archive_share > 0

    def between_batches(self) -> None:
        """Let every slot swap."""
        for slot in self._slots.values():
            slot.between_batches()

    def score(self, windows: Windows, ward: Ward, source_partition: int, out: Scored, *, by_model: bool = True) -> None:
        """Score ``windows``, or only measure them, and add what they became to ``out``."""
        if not len(windows.row):
            return
        batch = self.table(windows, by_model=by_model)
        for part in split(windows.row, ward.partition, ward.names):
            piece = batch.finding_batch(windows, part, ward.source[part.unique].tolist())
            out.tables.setdefault(part.partition, []).append(piece)
        out.findings[windows.task.value, batch.engine] += len(windows.row)
        out.batches.append((windows.task.value, len(windows.row)))
        out.said += _said(windows, batch)
        if batch.scores is None:
            return
        if self._archives:
            archived = self._archive(windows, batch, ward)
            if archived is not None:
                out.archives.append(message(Topic.WINDOWS, archived, partition=source_partition))
        slot = self._slots[windows.task]
        if slot.compares:
            self._compare(slot, windows, batch, ward, source_partition, out)

    def table(self, windows: Windows, *, by_model: bool = True) -> ScoredTable:
        """The finding columns of ``windows``."""
        unknown = np.full(len(windows.row), np.nan)
        columns = dict.fromkeys(COLUMNS[windows.task], unknown)
        columns.update((name, np.asarray(values, np.float64)) for name, values in windows.measured.items())
        slot = self._slots.get(windows.task) if by_model else None
        if slot is None:
            return ScoredTable(columns, RULES, RULES, None, np.empty(0, np.intp))
        believed = np.flatnonzero(windows.verdict <= Verdict.POOR)
        scores = None
        if len(believed):
            scores = slot.score({name: array[believed] for name, array in windows.inputs.items()})
        if scores is None:
            model, rung = slot.serving
            return ScoredTable(columns, model or RULES, rung.value, None, believed)
        for j, name in enumerate(scores.columns):
            columns[name] = unknown.copy()
            columns[name][believed] = scores.values[:, j]
        return ScoredTable(columns, scores.model, scores.engine.value, scores, believed)

    def _archive(self, windows: Windows, table: ScoredTable, ward: Ward) -> WindowArchive | None:
        row, end_us = windows.row[table.believed], windows.end_us[table.believed]
        kept = _of_patients(np.flatnonzero(_lot(row, end_us, ward) <= self._archive_below), row, ward)
        if not len(kept) or table.scores is None:
            return None
        return WindowArchive(
            task=windows.task.value,
            spec=windows.spec,
            model=table.model,
            patients=[ward.names[r] for r in row[kept].tolist()],
            end_us=end_us[kept].tolist(),
            inputs={name: _tensor(array[table.believed[kept]]) for name, array in windows.inputs.items()},
            outputs={name: _tensor(array[kept]) for name, array in table.scores.raw.items()},
        )

    def _compare(
        self, slot: ModelSlot, windows: Windows, table: ScoredTable, ward: Ward, source_partition: int, out: Scored
    ) -> None:
        """Ask the other model too, first about the windows that are archived: those are what people label."""
        row, end_us = windows.row[table.believed], windows.end_us[table.believed]
        first = np.argsort(_lot(row, end_us, ward), kind="stable")[:_ASKED_OF_BOTH]
        kept = _of_patients(np.sort(first), row, ward)
        if not len(kept):
            return
        paired = slot.compare({name: array[table.believed[kept]] for name, array in windows.inputs.items()})
        if paired is None:
            return
        names = [ward.names[r] for r in row[kept].tolist()]
        answers = _paired_answers(windows, names, end_us[kept].tolist(), paired)
        out.archives.append(message(Topic.CHALLENGES, answers, partition=source_partition))
        alike = int(paired.alike.sum())
        out.paired += Counter(
            {(windows.task.value, "alike"): alike, (windows.task.value, "otherwise"): len(kept) - alike}
        )


@dataclass(frozen=True, slots=True)
class ScoredTable:
    """Columns of n findings, float64[n] each, NaN where nothing is said. ``believed``: the windows a model saw."""

    columns: dict[str, npt.NDArray[np.float64]]
    model: str
    engine: str
    scores: Scores | None
    believed: npt.NDArray[np.intp]

    def finding_batch(self, windows: Windows, part: Split, sources: list[int]) -> FindingBatch:
        """The findings of ``part``, whose patients were sent by ``sources``."""
        index = part.index
        return FindingBatch(
            task=windows.task,
            spec=windows.spec,
            model=self.model,
            engine=self.engine,
            patients=part.patients,
            row=part.row,
            end_us=windows.end_us[index].tolist(),
            known_us=windows.known_us[index].tolist(),
            input_ms=windows.input_ms[index].tolist(),
            verdict=windows.verdict[index].tolist(),
            columns=list(self.columns),
            values=[nullable(column[index]) for column in self.columns.values()],
            ref=[windows.ref[i] for i in index.tolist()] if windows.ref else [],
            sources=sources,
        )


def _said(windows: Windows, table: ScoredTable) -> Counter[tuple[str, str]]:
    """Of each window the likeliest class or the range of the forecast, and of one that no model saw its verdict."""
    seen = table.believed if table.scores is not None else table.believed[:0]
    verdicts = np.bincount(np.delete(windows.verdict, seen), minlength=len(Verdict))
    said = {verdict.name.lower(): n for verdict, n in zip(Verdict, verdicts.tolist(), strict=True)}
    if table.scores is not None:
        words, index = calls(windows.task, table.scores.columns, table.scores.values)
        said |= zip(words, np.bincount(index, minlength=len(words)).tolist(), strict=True)
    return Counter({(windows.task.value, word): n for word, n in said.items() if n})


def _lot(row: npt.NDArray[np.int32], end_us: Ints, ward: Ward) -> npt.NDArray[np.uint64]:
    """A number for each window that depends on its patient and time alone, evenly spread."""
    with np.errstate(over="ignore"):
        mixed = ward.salt[row].astype(np.uint64) * _HASH_ROW + end_us.astype(np.uint64) * _HASH_TIME
        lot: npt.NDArray[np.uint64] = (mixed ^ (mixed >> np.uint64(29))) * _HASH_ROW
    return lot


def _of_patients(chosen: npt.NDArray[np.intp], row: npt.NDArray[np.int32], ward: Ward) -> npt.NDArray[np.intp]:
    """Those of ``chosen`` that are somebody's: nothing is learnt from the self-test."""
    return np.array([k for k in chosen.tolist() if not is_self_test(ward.names[row[k]])], np.intp)


def _paired_answers(windows: Windows, patients: list[str], end_us: list[int], paired: Paired) -> PairedAnswers:
    columns = paired.said_by_older.columns
    return PairedAnswers(
        task=windows.task.value,
        spec=windows.spec,
        champion=paired.older,
        challenger=paired.newer,
        serving=paired.serving,
        patients=patients,
        end_us=end_us,
        columns=list(columns),
        said_by_champion=_tensor(paired.said_by_older.values),
        said_by_challenger=_tensor(paired.said_by_newer.of(columns)),
    )


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    as_float = np.ascontiguousarray(array, np.float32)
    return Tensor("float32", list(as_float.shape), as_float.tobytes())
