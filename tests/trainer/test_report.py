"""The page about a run: one file with everything in it, and nobody of a ward."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from tests.trainer.test_evaluate import beats, calls, forecasts, glucose
from trainer.card import measured
from trainer.cases import pictures
from trainer.config import recipe
from trainer.dataset import Examples
from trainer.evaluate import Evaluation, evaluation
from trainer.gate import Verdict
from trainer.report import page
from trainer.runs import Run
from trainer.train import Epoch
from vitals.findings import Task

pytestmark = pytest.mark.torch

N, V = 0, 2


def shown(task: Task, columns: np.ndarray, examples: Examples) -> Evaluation:
    made = evaluation(task, columns, examples, 20)
    return msgspec.structs.replace(made, pictures=pictures(task, columns, examples))


def run(challenger: Evaluation, champion: Evaluation | None = None, *, refused: str = "") -> Run:
    return Run(
        task=challenger.task,
        began_us=1_700_000_000_000_000,
        ended_us=1_700_000_060_000_000,
        dataset="d" * 64,
        sides={"train": (3, 300)},
        recipe=recipe(challenger.task, quick=True),
        curve=[Epoch(run="all", epoch=at, loss=1 / at, score=at / 9, seconds=1.0) for at in range(1, 4)],
        best_epoch=2,
        challenger=challenger,
        champion=champion,
        champion_bundle="c" * 64,
        verdicts=[Verdict(rule=rule, passed=rule != refused, text="<figures>") for rule in ("first", "second")],
        bundle="" if refused else "b" * 64,
    )


def of_beats(people: tuple[str, ...] = ("mitdb/1", "mitdb/2", "ward/secret")) -> Evaluation:
    target = np.tile([N, N, N, V], 60)
    called = np.where(np.arange(240) % 16 == 3, N, target)
    person = np.repeat(np.arange(3), 80)
    return shown(Task.ECG_BEAT, calls(*called), beats(target.tolist(), person.tolist(), people))


def plots(written: str) -> list[str]:
    return re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,[A-Za-z0-9+/=]{1000,}">', written)


def test_beats_have_their_curves_their_table_and_their_worst_cases() -> None:
    written = page([run(of_beats(), of_beats())])
    assert set(plots(written)) == {
        "Learning",
        "What was called what",
        "Do the probabilities mean what they say?",
        "Per class",
        "ROC",
        "Precision and sensitivity",
        "Per person",
        "Worst cases",
    }
    assert "ANSI/AAMI EC57" in written
    assert "<td>gross</td>" in written
    assert not re.search(r'(src|href)="(?!data:)', written)


def test_forecasts_have_horizons_and_the_error_grid() -> None:
    value = np.where(np.arange(600) % 10 == 0, 60.0, 120.0)
    made = shown(Task.GLUCOSE, forecasts(np.full(600, 118.0)), glucose(value, np.full(600, 100.0)))
    assert {"Error by horizon", "Clarke&#x27;s error grid by horizon", "Worst cases"} <= set(plots(page([run(made)])))


def test_nobody_of_a_ward_is_named() -> None:
    made = of_beats()
    assert any(row.record == "ward/secret" for row in made.beats)
    for written in (page([run(made)]), measured(made)):
        assert "mitdb/1" in written
        assert "secret" not in written


def test_a_refusal_names_its_rule_and_its_figures_are_text() -> None:
    written = page([run(of_beats(), refused="second")])
    assert "Refused by: second." in written
    assert "&lt;figures&gt;" in written
    assert "not released" in written
    assert "Every rule passed." in page([run(of_beats())])


def test_subgroups_stand_beside_those_of_the_champion() -> None:
    people = tuple(f"{'a' if at < 6 else 'b'}/{at}" for at in range(12))
    target, person = [N, V] * 120, np.repeat(np.arange(12), 20).tolist()
    made = shown(Task.ECG_BEAT, calls(*target), beats(target, person, people))
    written = page([run(made, made)])
    assert written.count("1.000 [1.000, 1.000]") == 4  # two sites, two models
    assert "site=a" in written
    assert "| site=b | 6 | 120 | 1.000 [1.000, 1.000] |" in measured(made)


def test_a_run_from_before_there_were_pictures_is_still_shown() -> None:
    old = msgspec.structs.replace(of_beats(), pictures=None, beats=[], subgroups=[])
    assert "Learning" in plots(page([run(old)]))


def test_the_tables_for_people_hold_ec57_the_worst_record_and_the_alarms() -> None:
    text = measured(of_beats())
    assert "| EC57, % | beats | QRS Se |" in text
    assert "Worst record for ventricular beats: mitdb/1, Se 75.00 %." in text
    assert "Alarms of v: at most 1 false ones in 1000 windows" in text
    assert "False ones a patient-day as it serves" in text
