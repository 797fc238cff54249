"""The whole periodic corridor on a small synthetic world: first release, a better one, a refusal, the page about it."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.registry import Registry
from models.spec import CARD_FILE
from tests.trainer.small import NOW_US, small, world
from tests.trainer.synthetic import breast_set, glucose_table
from trainer import erased, runs
from trainer.__main__ import main
from trainer.config import TRAINED_TASKS, Places, recipe
from trainer.cycle import cycle, said_by_bundle
from trainer.dataset import Side
from trainer.fit import Epoch
from trainer.frozen import manifests, thaw
from trainer.journal import Journal
from trainer.lock import one_at_a_time
from trainer.report import page
from trainer.runs import Run
from vitals.clock import ManualClock
from vitals.findings import Task

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Places, Run]:
    at = world(tmp_path_factory.mktemp("breast"))
    breast_set(at.data)
    return at, cycle(small(), at, ManualClock(NOW_US))


def test_a_first_model_is_trained_gated_and_serves(first: tuple[Places, Run]) -> None:
    at, run = first
    bundle = Registry(at.registry).current(Task.BREAST)
    assert bundle is not None
    assert bundle.hash == run.bundle
    assert bundle.manifest.trained_on == run.dataset
    assert run.challenger.metrics["auroc"] > 0.9
    assert bundle.manifest.metrics["auroc"] == pytest.approx(run.challenger.metrics["auroc"], abs=1e-5)


def test_the_bundle_says_of_the_frozen_set_what_was_measured_before_export(first: tuple[Places, Run]) -> None:
    at, run = first
    dataset = thaw(at.state / "datasets" / "breast" / f"{run.dataset}.npz", Task.BREAST)
    bundle = Registry(at.registry).current(Task.BREAST)
    assert bundle is not None
    held_out = dataset[Side.HELD_OUT]
    called = said_by_bundle(bundle, held_out).argmax(axis=1)
    assert float((called == held_out.target).mean()) == pytest.approx(run.challenger.metrics["accuracy"])


def test_the_card_states_people_figures_gate_and_recipe(first: tuple[Places, Run]) -> None:
    at, run = first
    bundle = Registry(at.registry).current(Task.BREAST)
    assert bundle is not None
    card = bundle.read(CARD_FILE).decode()
    assert f"On the {run.challenger.people} held-out images" in card
    assert f"auroc: {run.challenger.metrics['auroc']:.3f} [" in card
    assert run.dataset in card
    assert all(verdict.rule in card for verdict in run.verdicts)
    assert '"seed": 7' in card


def test_the_same_data_and_recipe_give_the_same_model(first: tuple[Places, Run], tmp_path: Path) -> None:
    at, run = first
    again = cycle(small(), msgspec.structs.replace(world(tmp_path), data=at.data), ManualClock(NOW_US))
    assert again.dataset == run.dataset
    assert again.bundle == run.bundle


def test_a_challenger_begins_from_the_champion_and_takes_its_place(tmp_path: Path) -> None:
    at = world(tmp_path)
    breast_set(at.data)
    clock = ManualClock(NOW_US)
    champion = cycle(small(), at, clock)
    clock.advance(60)
    run = cycle(small(epochs=2), at, clock)
    assert run.champion is not None
    assert run.champion_bundle == champion.bundle
    assert run.curve[0].loss < champion.curve[0].loss
    assert run.bundle not in ("", champion.bundle)
    registry = Registry(at.registry)
    now = registry.current(Task.BREAST)
    assert now is not None
    assert now.hash == run.bundle
    assert registry.rollback(Task.BREAST).hash == champion.bundle


def test_a_worse_challenger_is_refused_and_the_champion_stays(first: tuple[Places, Run], tmp_path: Path) -> None:
    at, champion = first
    clock = ManualClock(NOW_US + 60_000_000)
    spoilt = msgspec.structs.replace(at, data=tmp_path / "data", state=tmp_path / "state")
    breast_set(spoilt.data)
    path = spoilt.data / "medmnist" / "breastmnist.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["train_labels"] = 1 - arrays["train_labels"]
    np.savez(path, **arrays)
    run = cycle(small(epochs=2), spoilt, clock, fresh=True)
    assert run.bundle == ""
    assert "ranking no worse" in [verdict.rule for verdict in run.verdicts if not verdict.passed]
    stays = Registry(at.registry).current(Task.BREAST)
    assert stays is not None
    assert stays.hash == champion.bundle


def test_the_corpus_is_described_beside_the_dataset(first: tuple[Places, Run]) -> None:
    at, run = first
    (manifest,) = manifests(at.state, Task.BREAST)
    assert manifest.hash == run.dataset
    (source,) = manifest.sources
    assert source.licence == "CC BY 4.0"
    (name, digest) = next(iter(source.files.items()))
    assert name == "medmnist/breastmnist.npz"
    assert digest == hashlib.sha256((at.data / name).read_bytes()).hexdigest()


def test_a_turn_that_was_killed_goes_on_with_the_dataset_it_froze(tmp_path: Path) -> None:
    at = world(tmp_path)
    breast_set(at.data)
    clock = ManualClock(NOW_US)

    def killed(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cycle(small(), at, clock, told=killed)
    breast_set(at.data, seed=4)  # the world goes on
    heard: list[Epoch] = []
    run = cycle(small(), at, clock, told=heard.append)
    (manifest,) = manifests(at.state, Task.BREAST)
    assert run.dataset == manifest.hash
    assert [epoch.epoch for epoch in heard] == [1, 2, 3, 4]
    assert cycle(small(), at, clock).dataset != run.dataset


def test_after_a_day_a_killed_turn_begins_again(tmp_path: Path) -> None:
    at = world(tmp_path)
    breast_set(at.data)
    clock = ManualClock(NOW_US)

    def killed(_: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cycle(small(epochs=1), at, clock, told=killed)
    breast_set(at.data, seed=4)
    clock.advance(25 * 3600)
    (old,) = manifests(at.state, Task.BREAST)
    assert cycle(small(epochs=1), at, clock).dataset != old.hash


def test_cross_validation_uses_everybody_but_the_held_out(tmp_path: Path) -> None:
    at = world(tmp_path)
    breast_set(at.data)
    run = cycle(small(epochs=4, folds=2), at, ManualClock(NOW_US))
    assert list(dict.fromkeys(epoch.run for epoch in run.curve)) == ["fold 1", "fold 2", "all"]
    assert run.bundle


def test_forecasts_are_learnt_and_beat_no_change(tmp_path: Path) -> None:
    at = world(tmp_path)
    glucose_table(at.data)
    changed = {"epochs": 3, "draws_per_epoch": 4000, "batch_size": 64}
    run = cycle(small(Task.GLUCOSE, **changed), at, ManualClock(NOW_US))
    assert run.challenger.metrics["rmse_30"] < run.challenger.metrics["persistence_rmse_30"]
    assert [verdict.text for verdict in run.verdicts if not verdict.passed] == []
    written = page([run])
    assert "Error by horizon" in written
    assert "Do the intervals cover?" in written


def test_the_report_is_one_page_with_its_plots_inside(first: tuple[Places, Run]) -> None:
    at, run = first
    kept = runs.newest(at.state, Task.BREAST)
    assert kept is not None
    written = page([kept])
    plots = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,[A-Za-z0-9+/=]{1000,}">', written)
    assert {"Learning", "What was called what", "Do the probabilities mean what they say?"} <= set(plots)
    assert run.bundle[:12] in written
    assert not re.search(r'(src|href)="(?!data:)', written)


def test_without_any_data_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WARDWATCH_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("WARDWATCH_STATE", str(tmp_path / "state"))
    assert main(["once", "--task", "breast", "--quick", "--threads", "1"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "fetch the data sets or give --kafka" in said[0]


def test_once_from_the_command_line_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    breast_set(tmp_path / "data")
    monkeypatch.setenv("WARDWATCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WARDWATCH_STATE", str(tmp_path / "state"))
    arguments = ["--task", "breast", "--quick", "--epochs", "3", "--fresh", "--threads", "1"]
    status = main(["once", *arguments])
    said = capsys.readouterr().out
    assert status in (0, 3)
    assert ("released" in said) is (status == 0)
    assert main(["report", "--task", "breast", "--out", str(tmp_path / "report.html")]) == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_evaluate_says_as_json_what_the_serving_bundle_does(
    first: tuple[Places, Run], monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    at, _ = first
    monkeypatch.setenv("WARDWATCH_DATA", str(at.data))
    monkeypatch.setenv("WARDWATCH_REGISTRY", str(at.registry))
    assert main(["evaluate", "--task", "breast", "--quick"]) == 0
    said = msgspec.json.decode(capsysbinary.readouterr().out)
    serving = Registry(at.registry).current(Task.BREAST)
    assert serving is not None
    assert said["bundle"] == serving.hash
    assert said["evaluation"]["metrics"]["auroc"] == pytest.approx(serving.manifest.metrics["auroc"], abs=1e-5)


def test_watch_takes_a_turn_when_one_is_due_says_a_failure_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WARDWATCH_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("WARDWATCH_STATE", str(tmp_path / "state"))
    looks = []

    def ends_after_two_looks(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", ends_after_two_looks)
    assert main(["watch", "--task", "breast", "--quick", "--threads", "1"]) == 1
    said = capsys.readouterr()
    assert said.out == "breast: never trained here\n"  # once, not at every look
    assert said.err.count("nobody to train") == 1
    (turn,) = Journal(tmp_path / "state", Task.BREAST).turns()
    assert (turn.outcome, turn.why) == ("failed", "never trained here")
    assert "nobody to train" in turn.detail


def test_once_if_due_takes_no_second_turn_on_the_same_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    breast_set(tmp_path / "data")
    monkeypatch.setenv("WARDWATCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WARDWATCH_STATE", str(tmp_path / "state"))
    arguments = ["once", "--task", "breast", "--quick", "--epochs", "1", "--fresh", "--threads", "1", "--if-due"]
    assert main(arguments) in (0, 3)
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "breast: not due"


def test_a_second_trainer_in_the_same_state_folder_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WARDWATCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WARDWATCH_STATE", str(tmp_path / "state"))
    with one_at_a_time(tmp_path / "state"):
        assert main(["once", "--task", "breast", "--quick", "--threads", "1"]) == 1
    assert capsys.readouterr().err == "another trainer is at work in this state folder\n"
    assert Journal(tmp_path / "state", Task.BREAST).turns() == []


def test_a_search_writes_a_recipe_that_the_next_turn_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    breast_set(tmp_path / "data", train=100, validation=60)
    monkeypatch.setenv("WARDWATCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("WARDWATCH_STATE", str(tmp_path / "state"))
    common = ["--task", "breast", "--quick", "--threads", "1"]
    assert main(["tune", *common, "--epochs", "1", "--sampler", "random", "--trials", "2"]) == 0
    said = capsys.readouterr().out
    assert "after 2 trials" in said
    path = tmp_path / "state" / "tuning" / "breast.toml"
    assert said.rstrip().endswith(str(path))
    assert main(["once", *common, "--fresh", "--recipe", str(path)]) in (0, 3)
    run = runs.newest(tmp_path / "state", Task.BREAST)
    assert run is not None
    assert run.recipe.learning_rate != recipe(Task.BREAST).learning_rate
    assert run.recipe.epochs == 1


def test_patients_to_forget_are_read_from_standard_input_and_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WARDWATCH_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("sys.stdin", io.StringIO("Jane Doe\n\nJohn Doe\n"))
    assert main(["erase", "-"]) == 0
    said = capsys.readouterr().out
    assert said.count("0 windows removed; models that have seen them: none that is here") == len(TRAINED_TASKS)
    assert "Doe" not in said
    assert len(erased.people(tmp_path / "state")) == 2
