"""A patient's stay as a test tells it: findings at seconds, what is decided about them, and the course of one alarm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stream.alerting import Decided, Deciding
from vitals.alerts import AlertEvent, AlertTransition
from vitals.conditions import Condition
from vitals.events import Command
from vitals.findings import COLUMNS, FORECAST_HORIZONS_MIN, FindingBatch, Findings, Task, Verdict

START_US = 1_700_000_000_000_000
ANN = "patient-ann"

Row = tuple[str, float, Mapping[str, float | None], Verdict]

CALM_RHYTHM: dict[str, float | None] = {
    "heart_rate_bpm": 75.0,
    "since_beat_ms": 400.0,
    "rr_irregularity": 0.05,
    "vf_index": 0.1,
    "qrs_mv": 1.0,
}
NORMAL_BEAT: dict[str, float | None] = {
    "p_n": 0.96, "p_s": 0.01, "p_v": 0.01, "p_f": 0.01, "p_q": 0.01, "rr_pre_ms": 800.0, "rr_post_ms": 800.0,
}  # fmt: skip
VENTRICULAR_BEAT: dict[str, float | None] = NORMAL_BEAT | {"p_n": 0.02, "p_v": 0.95, "rr_pre_ms": 450.0}


def at(seconds: float) -> int:
    """Event time so many seconds into the stay, in microseconds."""
    return START_US + round(seconds * 1_000_000)


def forecast(**chances: float) -> dict[str, float | None]:
    """Forecast columns with these probabilities at every horizon (``below_70=0.6``); 0 for the others."""
    values: dict[str, float | None] = dict.fromkeys(COLUMNS[Task.GLUCOSE][2:], 0.0)
    for name, chance in chances.items():
        values |= {f"h{h:02d}_p_{name}": chance for h in FORECAST_HORIZONS_MIN}
    return values


def batch(task: Task, rows: Sequence[Row], *, engine: str = "onnx-cpu", model: str = "model-1") -> FindingBatch:
    """Findings as the observe half publishes them. A column that a row does not name is not known, but for the rates of
    so many beats: of a steady heart all are the same.
    """
    patients = list(dict.fromkeys(row[0] for row in rows))
    ends = [at(row[1]) for row in rows]
    return FindingBatch(
        task=task,
        spec="spec-1",
        model="rules" if task is Task.ECG_RHYTHM else model,
        engine="rules" if task is Task.ECG_RHYTHM else engine,
        patients=patients,
        row=[patients.index(row[0]) for row in rows],
        end_us=ends,
        known_us=ends,
        input_ms=[end // 1000 + 40 for end in ends],
        verdict=[int(row[3]) for row in rows],
        columns=list(COLUMNS[task]),
        values=[
            [row[2].get(name, row[2].get("heart_rate_bpm") if name.startswith("rate_of_") else None) for row in rows]
            for name in COLUMNS[task]
        ],
        ref=[f"image-{row[1]:g}" for row in rows] if task in {Task.PNEUMONIA, Task.BREAST} else [],
    )


def record(*tables: FindingBatch) -> Findings:
    """Tables of one step as they go out."""
    return Findings(tables=list(tables))


def command(action: str, when_s: float, /, *, patient: str = ANN, **details: object) -> Command:
    """A nurse's command, given so many seconds into the stay."""
    stated = {"who": "n.okafor", "role": "nurse", "reason": "at the bed"} | details
    return Command(patient=patient, action=action, when_us=at(when_s), **stated)  # type: ignore[arg-type]


class Stay:
    """One patient beside a ``Deciding`` of their own; ``steps`` is everything that was told."""

    def __init__(self, deciding: Deciding | None = None, patient: str = ANN) -> None:
        self.deciding = deciding if deciding is not None else Deciding()
        self.patient = patient
        self.steps: list[AlertTransition] = []

    def find(
        self,
        task: Task,
        seconds: float,
        values: Mapping[str, float | None],
        verdict: Verdict = Verdict.GOOD,
        engine: str = "onnx-cpu",
    ) -> Decided:
        """One finding."""
        decided = self.deciding.decide([record(batch(task, [(self.patient, seconds, values, verdict)], engine=engine))])
        assert not decided.refused
        self.steps += decided.transitions
        return decided

    def rhythm(self, seconds: float, verdict: Verdict = Verdict.GOOD, **values: float | None) -> Decided:
        """A second of a calm rhythm but for ``values``."""
        return self.find(Task.ECG_RHYTHM, seconds, CALM_RHYTHM | values, verdict)

    def rhythms(self, seconds: Iterable[float], **values: float | None) -> None:
        """The same rhythm at each of ``seconds``."""
        for second in seconds:
            self.rhythm(second, **values)

    def beat(self, seconds: float, *, ventricular: bool = False, **values: float | None) -> Decided:
        """One heartbeat."""
        return self.find(Task.ECG_BEAT, seconds, (VENTRICULAR_BEAT if ventricular else NORMAL_BEAT) | values)

    def glucose(self, minutes: float, mg_dl: float | None, **chances: float) -> Decided:
        """One reading with its forecast."""
        values = {"glucose_mg_dl": mg_dl, "trend_mg_dl_min": 0.0} | forecast(**chances)
        return self.find(Task.GLUCOSE, minutes * 60, values)

    def tick(self, seconds: float) -> Decided:
        """Let time pass."""
        decided = self.deciding.tick(at(seconds))
        self.steps += decided.transitions
        return decided

    def do(self, action: str, when_s: float, /, **details: object) -> list[AlertTransition]:
        """A command; what it brought about."""
        steps = self.deciding.command(command(action, when_s, patient=self.patient, **details)).transitions
        self.steps += steps
        return steps

    def course(self, condition: Condition) -> list[tuple[AlertEvent, float]]:
        """What was told of ``condition``: event and seconds into the stay."""
        return [(s.event, (s.time_us - START_US) / 1e6) for s in self.steps if s.condition is condition]

    def last(self, condition: Condition) -> AlertTransition:
        """The newest step of ``condition``."""
        return [s for s in self.steps if s.condition is condition][-1]
