"""ECG chunks of many patients to windows: one for every heartbeat, and one a second for the rhythm.

The state is a row per patient; everything from the sample to the window is compiled and causal. Windows depend on the
signal and its event times only: cut into any chunks and bundled in any way it gives the same windows, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitals import units, usual
from vitals.drift import evidence
from vitals.drift.changes import Changes
from vitals.qrs import DERIVED
from vitals.rows import Rows, RowTable
from vitals.runs import Outcome
from vitals.signal import LEADS, RATE_HZ
from vitals.usual import CONTEXT
from vitals.windows.ecgpath import BEAT, RECENT, RECENT_EVERY_S, RHYTHM, STATE, advance, most_beats, newest, recall

__all__ = [
    "BEAT_SAMPLES",
    "BEAT_SPEC",
    "CONTEXT",
    "LEADS",
    "RATE_HZ",
    "RECENT_EVERY_S",
    "RECENT_SPEC",
    "RHYTHM_SPEC",
    "BeatWindows",
    "EcgStep",
    "EcgWindows",
    "Outcome",
    "RecentBeats",
    "RhythmWindows",
]

BEAT_SPEC: Final = "beat-250hz-192-v1"
RHYTHM_SPEC: Final = "rhythm-1s-v1"
RECENT_SPEC: Final = "beats-64-v1"
BEAT_SAMPLES: Final = usual.SAMPLES
"""92 before the R peak, 100 from it on."""


@dataclass(frozen=True, slots=True)
class BeatWindows:
    """``n`` heartbeats, in the order in which they were completed.

    ``chunk``: int32[n], index of the chunk whose arrival completed it; ``row``: int32[n].
    ``end_us``: int64[n], event time 0.4 s after the R peak; ``known_us``: int64[n], event time of the sample that
    completed it (the next beat had been found, or 1.5 s had gone by).
    ``ecg_mv``: float32[n, 2, 192], mV at 250 Hz, 92 samples before R and 100 from it on; a lead that is not there is 0.
    ``context``: float32[n, len(CONTEXT)]. ``rr_pre_ms``, ``rr_post_ms``: float32[n], 0 unknown.
    ``verdict``: uint8[n], ``Verdict``.
    """

    chunk: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    end_us: npt.NDArray[np.int64]
    known_us: npt.NDArray[np.int64]
    ecg_mv: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    rr_pre_ms: npt.NDArray[np.float32]
    rr_post_ms: npt.NDArray[np.float32]
    verdict: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.chunk)


@dataclass(frozen=True, slots=True)
class RhythmWindows:
    """``n`` seconds of rhythm: ``end_us`` is the end of a second of event time, columns as in ``findings.COLUMNS``.

    All columns float32[n], NaN unknown; ``chunk``, ``row``, ``end_us``, ``known_us``, ``verdict`` as for beats.
    """

    chunk: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    end_us: npt.NDArray[np.int64]
    known_us: npt.NDArray[np.int64]
    heart_rate_bpm: npt.NDArray[np.float32]
    since_beat_ms: npt.NDArray[np.float32]
    rr_irregularity: npt.NDArray[np.float32]
    vf_index: npt.NDArray[np.float32]
    qrs_mv: npt.NDArray[np.float32]
    rate_of_5_bpm: npt.NDArray[np.float32]
    rate_of_17_bpm: npt.NDArray[np.float32]
    verdict: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.chunk)


@dataclass(frozen=True, slots=True)
class RecentBeats:
    """``n`` windows of the last 64 beats of a patient, one every 30 s.

    ``beats``: float32[n, 64, 21], the newest last, ``recentbeats.FEATURES``; ``context``: float32[n, 6],
    ``recentbeats.CONTEXT``; ``end_us`` the end of a second of event time. ``verdict``: GOOD, or TOO_SHORT below 20 s of
    signal. ``chunk``, ``row``, ``end_us``, ``known_us`` as for beats.
    """

    chunk: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    end_us: npt.NDArray[np.int64]
    known_us: npt.NDArray[np.int64]
    beats: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    verdict: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.chunk)


@dataclass(frozen=True, slots=True)
class EcgStep:
    """What a call made of ``c`` chunks.

    ``outcome``: uint8[c], ``Outcome``. A chunk that is taken waits until a rhythm window with one of its samples in it
    is given out: ``scored``: int32[c], how many waiting chunks (itself included) this chunk brought to that;
    ``cut``: int32[c], how many were thrown away because this chunk began a new run. ``changes``: drifts of beds.
    """

    outcome: npt.NDArray[np.uint8]
    scored: npt.NDArray[np.int32]
    cut: npt.NDArray[np.int32]
    beats: BeatWindows
    rhythm: RhythmWindows
    recent: RecentBeats
    changes: Changes


class EcgWindows:
    """The signal path of many patients, one row each."""

    def __init__(self) -> None:
        self._table = RowTable(f"{BEAT_SPEC} {RHYTHM_SPEC} {RECENT_SPEC}", np.zeros((), STATE), derived=DERIVED[0][0])
        self._waiting = 0

    def add(self, n: int) -> Rows:
        """int32[n]: rows of new patients."""
        return self._table.add(n)

    def free(self, rows: Rows) -> None:
        """Forget the patients in ``rows``."""
        self._waiting -= int(self.waiting_of(rows).sum())
        self._table.data["waiting"][rows] = 0
        self._table.free(rows)

    def snapshot(self, rows: Rows) -> bytes:
        """The state of ``rows`` as bytes."""
        return self._table.snapshot(rows)

    def rows_in(self, state: bytes) -> int:
        """How many rows this is a snapshot of. Raises ``ValueError`` for any other bytes."""
        return self._table.rows_in(state)

    def restore(self, rows: Rows, state: bytes) -> None:
        """Put a snapshot of as many rows into ``rows``. Raises ``ValueError`` for any other bytes."""
        was = int(self.waiting_of(rows).sum())
        self._table.restore(rows, state)
        recall(self._table.data, rows)
        self._waiting += int(self.waiting_of(rows).sum()) - was

    @property
    def waiting(self) -> int:
        """Chunks of all patients that wait in an open window."""
        return self._waiting

    def waiting_of(self, rows: Rows) -> npt.NDArray[np.int32]:
        """int32[rows]: chunks that wait in an open window."""
        waiting: npt.NDArray[np.int32] = self._table.data["waiting"][rows].sum(axis=1, dtype=np.int32)
        return waiting

    def advance(
        self,
        rows: Rows,
        start_us: npt.NDArray[np.int64],
        rate_hz: npt.NDArray[np.float64],
        n_leads: npt.NDArray[np.int32],
        gain_uv: npt.NDArray[np.float64],
        n_samples: npt.NDArray[np.int32],
        samples: npt.NDArray[np.int16],
        phase: npt.NDArray[np.uint8] | None = None,
    ) -> EcgStep:
        """Take ``c`` chunks in order; a row may occur more than once.

        Arguments are arrays of length c but for ``samples``: int16[sum(n_samples * n_leads)], chunk after chunk, lead
        after lead, ``gain_uv`` microvolts each, -32768 where nothing was measured. The first two leads are used.
        ``phase``: seconds by which each patient's windows of recent beats come before the others', so that not all of a
        ward come at once; none is 0.
        Raises ``ValueError`` when they do not fit each other or no monitor could have sent them (``units``).
        """
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self._table.data)):
            raise ValueError("a row that was not added")
        _must_fit(rows, start_us, rate_hz, n_leads, gain_uv, n_samples, samples)
        c = len(rows)
        outcome = np.empty(c, np.uint8)
        scored = np.zeros(c, np.int32)
        cut = np.zeros(c, np.int32)
        seconds = n_samples / rate_hz
        rhythms = np.empty(int(np.ceil(seconds + 2.0).sum()), RHYTHM)
        recents = np.empty(int(np.ceil((seconds + 2.0) / RECENT_EVERY_S).sum()) + 1, RECENT)
        phase = np.zeros(c, np.uint8) if phase is None else phase
        room = most_beats(seconds.max(initial=0.0)) + int(4.0 * seconds.sum())
        parts: list[npt.NDArray[np.void]] = []
        done, offset, n_rhythms, n_recents = 0, 0, 0, 0
        while True:
            beats = np.empty(room, BEAT)
            done, offset, n_beats, n_rhythms, n_recents = advance(
                self._table.data, rows, phase, start_us, rate_hz, n_leads, gain_uv, n_samples, samples,
                outcome, scored, cut, beats, rhythms, recents, done, offset, n_rhythms, n_recents,
            )  # fmt: skip
            parts.append(beats[:n_beats])
            if done == c:
                break
        self._waiting += int((outcome == Outcome.TAKEN).sum() - scored.sum() - cut.sum())
        beat = parts[0] if len(parts) == 1 else np.concatenate(parts)
        rhythm = rhythms[:n_rhythms]
        return EcgStep(
            outcome,
            scored,
            cut,
            BeatWindows(*_columns(beat, BeatWindows)),
            RhythmWindows(*_columns(rhythm, RhythmWindows)),
            RecentBeats(*_columns(recents[:n_recents], RecentBeats)),
            _changes(rhythm[rhythm["drift"] != evidence.NOTHING]),
        )

    def newest(self, rows: Rows) -> RecentBeats:
        """The windows of recent beats of ``rows`` as they are now, at the end of the last whole second."""
        recents = np.empty(len(rows), RECENT)
        newest(self._table.data, rows, recents)
        return RecentBeats(*_columns(recents, RecentBeats))


def _columns(
    table: npt.NDArray[np.void], kind: type[BeatWindows | RhythmWindows | RecentBeats]
) -> list[npt.NDArray[Any]]:
    return [np.ascontiguousarray(table[field.name]) for field in fields(kind)]


def _changes(seconds: npt.NDArray[np.void]) -> Changes:
    return Changes(
        [evidence.KINDS[kind] for kind in seconds["drift"].tolist()],
        seconds["row"],
        seconds["end_us"],
        seconds["drift_began"],
        seconds["drift_from_us"],
        seconds["drift_size"],
    )


def _must_fit(
    rows: Rows,
    start_us: npt.NDArray[np.int64],
    rate_hz: npt.NDArray[np.float64],
    n_leads: npt.NDArray[np.int32],
    gain_uv: npt.NDArray[np.float64],
    n_samples: npt.NDArray[np.int32],
    samples: npt.NDArray[np.int16],
) -> None:
    columns = (start_us, rate_hz, n_leads, gain_uv, n_samples)
    if any(len(column) != len(rows) for column in columns):
        raise ValueError("columns of different length")
    sizes = n_samples.astype(np.int64) * n_leads
    if not len(rows):
        return
    if n_samples.min() < 1 or n_leads.min() < 1 or sizes.sum() != len(samples):
        raise ValueError("the samples do not fit their counts")
    if not (rate_hz.min() >= units.RATE_MIN_HZ and rate_hz.max() <= units.RATE_MAX_HZ):
        raise ValueError("a rate that no monitor has")
    if not (gain_uv.min() > 0.0 and gain_uv.max() <= units.GAIN_MAX_UV):
        raise ValueError("a gain that no monitor has")
    if start_us.min() < units.EARLIEST_US or start_us.max() > units.LATEST_US:
        raise ValueError("a time that no monitor has")
