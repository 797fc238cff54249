"""An evaluation as a whole: draws, people, subgroups, the table of EC57, answers that are none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import wfdb

from trainer import ec57
from trainer.cases import pictures
from trainer.config import SplitRecipe
from trainer.corpus import ecg
from trainer.dataset import Dataset, Examples, Side, assembled
from trainer.evaluate import Evaluation, evaluation, site_of, without_draws
from trainer.evidence import Material, material, shared
from trainer.examples import PersonExamples
from trainer.frozen import freeze, thaw
from vitals.findings import FORECAST_HORIZONS_MIN, FORECAST_LIMITS, Task
from vitals.windows.glucose import SCALE_MG_DL, STEPS

N, S, V, F, Q = range(5)
HORIZONS = len(FORECAST_HORIZONS_MIN)
SECOND_US = 1_000_000


def beats(
    target: list[int],
    person: list[int],
    people: tuple[str, ...],
    *,
    lost: list[list[int]] | None = None,
    traits: tuple[str, ...] = (),
) -> Examples:
    n = len(target)
    inputs = {
        "ecg_mv": np.random.default_rng(1).standard_normal((n, 2, 192)).astype(np.float32),
        "context": np.zeros((n, 4), np.float32),
    }
    gone = np.zeros((len(people), 5), np.int64) if lost is None else np.array(lost)
    end_us = np.arange(n, dtype=np.int64) * SECOND_US
    return Examples(people, np.array(person, np.int32), inputs, np.array(target), end_us, gone, traits)


def calls(*called: int, p: float = 0.9) -> np.ndarray:
    columns = np.full((len(called), 5), (1 - p) / 4)
    columns[np.arange(len(called)), called] = p
    return columns


def glucose(value_mg_dl: np.ndarray, now_mg_dl: np.ndarray, people: int = 6) -> Examples:
    n = len(now_mg_dl)
    grid = np.ones((n, STEPS, 2), np.float32)
    grid[:, :, 0] = (now_mg_dl / SCALE_MG_DL)[:, None]
    target = np.repeat(value_mg_dl[:, None], HORIZONS, axis=1).astype(np.float32)
    person = (np.arange(n) * people // n).astype(np.int32)
    names = tuple(f"set/{at}" for at in range(people))
    return Examples(names, person, {"glucose": grid}, target, np.arange(n), np.zeros((people, 0), np.int64))


def forecasts(mean_mg_dl: np.ndarray, p: float = 0.1) -> np.ndarray:
    steps = np.array([0.0, -20.0, -8.0, 0.0, 8.0, 20.0])
    told = (mean_mg_dl[:, None] + steps)[:, None, :].repeat(HORIZONS, axis=1)
    chances = np.full((len(mean_mg_dl), HORIZONS, len(FORECAST_LIMITS)), p)
    return np.concatenate([told, chances], axis=2).reshape(len(mean_mg_dl), -1)


def test_every_draw_is_what_writing_the_people_out_would_give() -> None:
    random = np.random.default_rng(4)
    target, person = random.integers(0, 5, 300), np.sort(random.integers(0, 4, 300))
    p = random.dirichlet(np.ones(5), 300)
    examples = beats(target.tolist(), person.tolist(), ("a", "b", "c", "d"))
    made = evaluation(Task.ECG_BEAT, p, examples, 5)
    weights = np.random.default_rng(20).multinomial(4, np.full(4, 0.25), size=5)
    for at, weight in enumerate(weights):
        rows = np.concatenate([np.tile(np.flatnonzero(person == one), times) for one, times in enumerate(weight)])
        written = evaluation(Task.ECG_BEAT, p[rows], examples.of(rows), 1)
        for name in ("macro_f1", "se_v", "auroc_s", "ece", "log_loss", "brier", "said_q", "false_v_per_1000"):
            assert made.draws[name][at] == pytest.approx(written.metrics[name]), name


def test_false_calls_a_patient_day_count_only_the_time_that_was_watched() -> None:
    examples = beats([N] * 100, [0] * 50 + [1] * 50, ("a", "b"))
    examples.end_us[75:] += 3600 * SECOND_US  # an hour that nobody saw
    made = evaluation(Task.ECG_BEAT, calls(*[V] * 2, *[N] * 98), examples, 5)
    watched_s = 49 + 48
    assert made.metrics["false_v_per_day"] == pytest.approx(2 * 86_400 / watched_s)


def test_the_table_of_ec57_by_record_gross_and_average() -> None:
    examples = beats([V, V, N, N, V, N], [0, 0, 0, 0, 1, 1], ("mitdb/1", "mitdb/2"), lost=[[0, 0, 1, 0, 0], [0] * 5])
    rows = {row.record: row for row in evaluation(Task.ECG_BEAT, calls(V, N, V, N, V, N), examples, 5).beats}
    assert rows["mitdb/1"].v_se == pytest.approx(1 / 3)
    assert rows["mitdb/1"].v_pp == pytest.approx(1 / 2)
    assert rows["mitdb/1"].v_fpr == pytest.approx(1 / 2)
    assert rows["mitdb/1"].qrs_se == pytest.approx(4 / 5)
    assert rows["mitdb/1"].s_se is None
    assert rows["mitdb/2"].v_se == 1.0
    assert rows[ec57.GROSS].v_se == pytest.approx(2 / 4)
    assert rows[ec57.GROSS].beats == 7
    assert rows[ec57.AVERAGE].v_se == pytest.approx((1 / 3 + 1) / 2)


def test_subgroups_are_people_who_share_a_trait_and_too_few_of_them_are_left_out() -> None:
    people = tuple(f"mitdb/{at}" for at in range(12))
    traits = tuple("sex=f" if at < 6 else "sex=m;age=80+" if at < 8 else "sex=m" for at in range(12))
    person = np.repeat(np.arange(12), 20)
    target = np.tile([N, V], 120)
    called = np.where(person < 6, target, N)  # of men every V is missed
    made = evaluation(Task.ECG_BEAT, calls(*called), beats(target.tolist(), person.tolist(), people, traits=traits), 20)
    found = {group.trait: group for group in made.subgroups}
    assert set(found) == {"sex=f", "sex=m"}
    assert found["sex=f"].value == 1.0
    assert found["sex=m"].value < 0.5
    assert (found["sex=m"].people, found["sex=m"].examples) == (6, 120)
    assert without_draws(made).subgroups[0].draws == []


@pytest.mark.parametrize(
    ("person", "site"),
    [
        ("mitdb/100", "mitdb"),
        ("cgm_glucose_ml/AZT1D/Subject 1", "cgm_glucose_ml/AZT1D"),
        ("breastmnist/val/7", "breastmnist"),
        ("ward/0123", "ward"),
    ],
)
def test_the_name_tells_the_site(person: str, site: str) -> None:
    assert site_of(person) == site


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5])
def test_answers_that_are_none_are_counted_and_measured_as_useless(bad: float) -> None:
    target = [N, V] * 50
    examples = beats(target, [0] * 50 + [1] * 50, ("a", "b"))
    columns = calls(*target)
    columns[:10, 1] = bad
    made = evaluation(Task.ECG_BEAT, columns, examples, 10)
    assert made.unusable == 10
    assert made.metrics["log_loss"] > 1.0
    assert all(np.isfinite(value) for value in made.metrics.values())


def test_a_forecast_of_nothing_but_nan_is_measured_as_useless() -> None:
    examples = glucose(np.full(60, 120.0), np.full(60, 100.0))
    made = evaluation(Task.GLUCOSE, np.full((60, forecasts(np.zeros(1)).shape[1]), np.nan), examples, 10)
    assert made.unusable == 60
    assert made.metrics["rmse_30"] == pytest.approx(120.0)


def test_forecasts_are_measured_in_mg_dl_zones_and_false_alarms_a_day() -> None:
    now = np.full(600, 100.0)
    value = np.where(np.arange(600) % 10 == 0, 60.0, 100.0)
    columns = forecasts(np.full(600, 100.0))
    shaped = columns.reshape(600, HORIZONS, -1)
    shaped[np.arange(600) % 10 < 2, :, 6] = 0.9  # every true low is foretold, and as many false ones
    made = evaluation(Task.GLUCOSE, columns, glucose(value, now), 20)
    assert made.metrics["rmse_30"] == pytest.approx(np.sqrt(0.1 * 40**2))
    assert made.metrics["clarke_de_30"] == pytest.approx(0.1)
    assert made.metrics["alarm_se_below_70"] == 1.0
    assert made.metrics["false_below_70_per_day"] == pytest.approx(0.1 * 288)
    assert made.metrics["auroc_onset_below_70_30"] == pytest.approx((60 * 480 + 60 * 60 / 2) / (60 * 540))


def test_age_sex_and_lead_of_a_record_come_as_far_as_the_evaluation(tmp_path: Path) -> None:
    second = np.sin(np.linspace(0, 60, 21_600))[:, None] * np.ones(2)
    comments = {"1": ["69 M 1085 1629 x1"], "2": ["91 F 12 x2"], "3": ["-1 F 12 x2"]}
    for name, said in comments.items():
        wfdb.wrsamp(
            name, 360, ["mV", "mV"], ["MLII", "V5"], second, fmt=["16", "16"], comments=said, write_dir=str(tmp_path)
        )
        wfdb.wrann(name, "atr", np.array([100]), ["N"], write_dir=str(tmp_path))
    known = [ecg.record(tmp_path / name, f"mitdb/{name}").traits for name in comments]
    assert known == ["age=60-69;sex=m;lead=MLII", "age=80+;sex=f;lead=MLII", "sex=f;lead=MLII"]


def test_traits_are_frozen_with_a_dataset_and_change_its_name(tmp_path: Path) -> None:
    def of(traits: str) -> Dataset:
        people = [
            PersonExamples(
                f"set/{at}",
                {"x": np.ones((2, 3), np.float32)},
                np.array([N, V]),
                np.arange(2),
                np.zeros(5, np.int64),
                traits=traits,
            )
            for at in range(60)
        ]
        return assembled(Task.ECG_BEAT, people, SplitRecipe())

    made = of("sex=f")
    assert made.hash != of("").hash
    assert of("")[Side.TRAIN].traits == ()
    back = thaw(freeze(made, tmp_path, SplitRecipe(), [], now_us=7), Task.ECG_BEAT)
    assert set(back[Side.HELD_OUT].traits) == {"sex=f"}
    assert back[Side.TRAIN].of(np.array([0])).traits == made[Side.TRAIN].traits


def test_two_sets_have_two_names_and_one_set_has_one() -> None:
    def frozen(target: list[int]) -> str:
        return evaluation(Task.ECG_BEAT, calls(*[N] * 4), beats(target, [0, 0, 1, 1], ("a", "b")), 3).frozen

    assert frozen([N, N, V, V]) == frozen([N, N, V, V])
    assert frozen([N, N, V, V]) != frozen([N, N, V, S])


def test_what_was_learnt_from_is_found_by_name_by_a_second_name_and_by_content() -> None:
    held_out = beats([N] * 10, [0] * 10, ("mitdb/201",))
    apart = beats([N] * 10, [0] * 10, ("mitdb/100",))
    apart.inputs["ecg_mv"][:] += 1.0
    assert shared(material(apart), material(held_out)) == (0, 0.0)
    twice = beats([N] * 10, [0] * 10, ("mitdb/202",))  # the man of 201
    twice.inputs["ecg_mv"][:] += 1.0
    assert shared(material(twice), material(held_out))[0] == 1
    copied = beats([N] * 10, [0] * 10, ("ward/1",))
    copied.inputs["ecg_mv"][3:] += 1.0
    assert shared(material(apart, copied), material(held_out)) == (0, 0.3)
    assert shared(Material(frozenset(), np.zeros(0, np.uint64)), material(held_out)) == (0, 0.0)


def test_the_worst_cases_are_the_surest_mistakes_and_never_of_a_ward() -> None:
    people = ("mitdb/1", "ward/0f")
    target, called = [V, V, N, V], [N, V, V, N]
    columns = calls(*called)
    columns[0] = calls(N, p=0.99)[0]
    shown = pictures(Task.ECG_BEAT, columns, beats(target, [0, 0, 0, 1], people))
    assert [case.title for case in shown.cases] == ["mitdb/1: n called v, 0.90", "mitdb/1: v called n, 0.99"]
    assert len(shown.cases[0].rows) == 2
    assert set(shown.roc) == {"n", "v"}


def test_the_worst_forecasts_are_one_of_each_person_with_what_came() -> None:
    value = np.full(60, 120.0)
    value[[3, 4, 57]] = 300.0, 280.0, 200.0
    shown = pictures(Task.GLUCOSE, forecasts(np.full(60, 120.0)), glucose(value, np.full(60, 100.0)))
    assert [case.person for case in shown.cases][:2] == ["set/0", "set/5"]
    assert len({case.person for case in shown.cases}) == len(shown.cases)
    assert shown.cases[0].future[0] == 300.0
    assert shown.cases[0].low[0] < shown.cases[0].mean[0] < shown.cases[0].high[0]
    assert sum(shown.zones[0]) == pytest.approx(1.0)


def test_an_evaluation_travels_as_json() -> None:
    target = [N, V] * 10
    examples = beats(target, [0] * 10 + [1] * 10, ("mitdb/1", "mitdb/2"))
    made = evaluation(Task.ECG_BEAT, calls(*target), examples, 5)
    full = msgspec.structs.replace(made, pictures=pictures(Task.ECG_BEAT, calls(*target), examples))
    assert msgspec.json.decode(msgspec.json.encode(full), type=Evaluation) == full
