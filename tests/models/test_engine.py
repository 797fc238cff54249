from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine import Array, EngineFailed, InputRefused, Rung, RungUnavailable
from models.engines.ladder import open_best
from models.engines.onnx import open_onnx
from models.engines.subbatch import Runner, SubBatched, plan
from models.registry import Bundle, golden_bytes, opened
from models.spec import GOLDEN_FILE, ONNX_FILE
from tests.models.conftest import TASKS
from tests.support.bundles import CONTEXT, rows_of
from vitals.findings import Task

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("task", TASKS)
def test_a_rows_answer_never_depends_on_its_batch_to_the_last_bit(task: Task, bundles: dict[Task, Bundle]) -> None:
    engine, rows = open_onnx(bundles[task]), rows_of(task, 400, seed=3)
    reference = engine.infer(rows)
    rng = np.random.default_rng(4)
    for _ in range(5):
        shuffled = rng.permutation(400)
        for part in np.split(shuffled, np.sort(rng.choice(np.arange(1, 400), 60, replace=False))):
            answers = engine.infer({name: array[part] for name, array in rows.items()})
            for name, array in answers.items():
                assert array.tobytes() == reference[name][part].tobytes()


def test_a_row_beside_rows_of_infinities_and_nan_is_answered_as_alone(bundles: dict[Task, Bundle]) -> None:
    engine, rows = open_onnx(bundles[Task.ECG_BEAT]), rows_of(Task.ECG_BEAT, 40)
    clean = engine.infer(rows)["logits"]
    rows["ecg_mv"][1::2] = np.inf
    rows["context"][1::2] = np.nan
    assert engine.infer(rows)["logits"][::2].tobytes() == clean[::2].tobytes()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda rows: rows.pop("context"), "the model takes"),
        (lambda rows: rows.update(more=rows["context"]), "the model takes"),
        (lambda rows: rows.update(ecg_mv=rows["ecg_mv"].astype(np.float64)), "ecg_mv is float64"),
        (lambda rows: rows.update(ecg_mv=rows["ecg_mv"][:, :1]), r"not float32\[n, 2, 192\]"),
        (lambda rows: rows.update(context=rows["context"][:3]), "same number of rows"),
        (lambda rows: rows.update(ecg_mv=rows["ecg_mv"][:0], context=rows["context"][:0]), "at least one"),
        (lambda rows: rows.update(context=np.float32(1.0).reshape(())), "context is float32"),
    ],
)
def test_what_the_manifest_does_not_say_is_refused_by_name(
    spoil: Callable[[dict[str, Array]], object], says: str, bundles: dict[Task, Bundle]
) -> None:
    rows = rows_of(Task.ECG_BEAT, 5)
    spoil(rows)
    with pytest.raises(InputRefused, match=says):
        open_onnx(bundles[Task.ECG_BEAT]).infer(rows)


def test_strided_and_read_only_inputs_are_taken_and_left_as_they_were(bundles: dict[Task, Bundle]) -> None:
    engine, rows = open_onnx(bundles[Task.ECG_BEAT]), rows_of(Task.ECG_BEAT, 12)
    expected = engine.infer({name: array[::2].copy() for name, array in rows.items()})["logits"]
    wide = np.zeros((12, 2, 384), np.float32)
    wide[:, :, ::2] = rows["ecg_mv"]
    given = {"ecg_mv": wide[::2, :, ::2], "context": rows["context"][::2]}
    for array in given.values():
        array.setflags(write=False)
    assert engine.infer(given)["logits"].tobytes() == expected.tobytes()
    assert wide[::2, :, ::2].tobytes() == rows["ecg_mv"][::2].tobytes()


def test_answers_belong_to_the_caller(bundles: dict[Task, Bundle]) -> None:
    engine, rows = open_onnx(bundles[Task.ECG_BEAT]), rows_of(Task.ECG_BEAT, 32)
    first = engine.infer(rows)["logits"]
    kept = first.copy()
    engine.infer(rows_of(Task.ECG_BEAT, 32, seed=8))
    assert first.tobytes() == kept.tobytes()


def test_a_closed_engine_says_so(bundles: dict[Task, Bundle]) -> None:
    engine = open_onnx(bundles[Task.ECG_BEAT])
    engine.close()
    engine.close()
    with pytest.raises(EngineFailed, match="closed"):
        engine.infer(rows_of(Task.ECG_BEAT, 1))
    with pytest.raises(EngineFailed, match="closed"):
        engine.warm()


def library(answer: Callable[[Array], Array], sizes: tuple[int, ...] = (8, 4, 1)) -> Runner:
    """A library whose kernel is ``answer``: context [n, 8] → logits [n, 5]."""
    return Runner(lambda rows: {"logits": answer(rows["context"])}, lambda: None, sizes, (OSError,))


def engine_over(runner: Runner, bundles: dict[Task, Bundle]) -> SubBatched:
    bundle = bundles[Task.ECG_BEAT]
    return SubBatched(Rung.ONNX_CPU, bundle.manifest, bundle.golden_inputs, runner)


def sums(rows: Array) -> Array:
    return np.repeat(rows.sum(axis=1, keepdims=True), 5, axis=1).astype(np.float32)


def test_sizes_whose_bits_agree_are_all_used(bundles: dict[Task, Bundle]) -> None:
    assert engine_over(library(sums), bundles).sizes == (8, 4, 1)


def test_a_size_with_other_bits_is_not_used(bundles: dict[Task, Bundle]) -> None:
    def alone_is_different(rows: Array) -> Array:
        return sums(rows) * np.float32(1 + 2**-23) if len(rows) == 1 else sums(rows)

    engine = engine_over(library(alone_is_different), bundles)
    assert engine.sizes == (8, 4)
    assert engine.infer(rows_of(Task.ECG_BEAT, 1))["logits"].shape == (1, 5)


def test_a_size_in_which_the_place_of_a_row_matters_is_not_used(bundles: dict[Task, Bundle]) -> None:
    def last_is_different(rows: Array) -> Array:
        answers = sums(rows)
        if len(rows) == 8:
            answers[-1] *= np.float32(1 + 2**-22)
        return answers

    assert engine_over(library(last_is_different), bundles).sizes == (4, 1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda rows: sums(rows)[:, :4],
        lambda rows: sums(rows).astype(np.float64),
        lambda rows: sums(rows)[:-1] if len(rows) > 1 else sums(rows)[:0],
    ],
)
def test_a_library_that_answers_other_shapes_is_not_believed(
    answer: Callable[[Array], Array], bundles: dict[Task, Bundle]
) -> None:
    with pytest.raises(EngineFailed):
        engine_over(library(answer), bundles)


def test_what_a_library_raises_is_an_engine_failure_and_a_defect_of_ours_is_not(bundles: dict[Task, Bundle]) -> None:
    def fails(rows: Array) -> Array:
        raise OSError("device lost")

    def defect(rows: Array) -> Array:
        raise KeyError("ours")

    with pytest.raises(EngineFailed, match="device lost"):
        engine_over(library(fails), bundles)
    with pytest.raises(KeyError):
        engine_over(library(defect), bundles)


@settings(deadline=None)
@given(rows=st.integers(1, 500), sizes=st.sets(st.sampled_from([1, 2, 4, 8, 16, 32, 48]), min_size=1))
def test_a_plan_holds_all_rows_and_pads_only_its_last_part(rows: int, sizes: set[int]) -> None:
    chosen = plan(rows, tuple(sizes))
    assert sum(chosen) >= rows > sum(chosen[:-1])
    assert set(chosen) <= sizes
    assert list(chosen) == sorted(chosen, reverse=True)


def test_a_plan_prefers_little_padding_to_many_calls() -> None:
    assert plan(31, (32, 16, 8, 4, 2, 1)) == (32,)
    assert plan(33, (32, 16, 8, 4, 2, 1)) == (32, 1)
    assert plan(20, (32, 16, 8, 4, 2, 1)) == (16, 4)
    assert plan(100, (32, 8)) == (32, 32, 32, 8)


def test_the_best_rung_that_works_here_serves_and_says_why_not_the_others(bundles: dict[Task, Bundle]) -> None:
    engine, reasons = open_best(bundles[Task.GLUCOSE])
    assert engine is not None
    assert engine.rung is Rung.ONNX_CPU
    assert [reason.partition(":")[0] for reason in reasons] == ["tensorrt", "onnx-cuda"]


def test_a_bundle_whose_network_is_not_the_one_of_its_golden_answers_does_not_serve(
    bundles: dict[Task, Bundle], tmp_path: Path
) -> None:
    bundle = respun(bundles[Task.GLUCOSE], tmp_path, lambda outputs: {k: v + 1 for k, v in outputs.items()})
    engine, reasons = open_best(bundle, [Rung.ONNX_CPU])
    assert engine is None
    assert "no parity" in reasons[0]
    assert "DIFFERENT" in reasons[0]


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a" * 200])
def test_bytes_that_are_no_network_are_a_reason(content: bytes, bundles: dict[Task, Bundle], tmp_path: Path) -> None:
    bundle = respun(bundles[Task.GLUCOSE], tmp_path, dict, content)
    engine, reasons = open_best(bundle, [Rung.ONNX_CPU])
    assert engine is None
    assert reasons[0].startswith("onnx-cpu: ONNX Runtime")


def test_a_network_with_other_outputs_than_its_manifest_is_not_opened(
    bundles: dict[Task, Bundle], tmp_path: Path
) -> None:
    other = bundles[Task.PNEUMONIA].read(ONNX_FILE)
    with pytest.raises(RungUnavailable, match="which its manifest says"):
        open_onnx(respun(bundles[Task.GLUCOSE], tmp_path, dict, other))


def test_rules_are_not_an_engine(bundles: dict[Task, Bundle]) -> None:
    assert open_best(bundles[Task.GLUCOSE], [Rung.RULES, Rung.TORCH])[0] is None


def test_sizes_follow_the_batch_that_the_manifest_prefers(bundles: dict[Task, Bundle], tmp_path: Path) -> None:
    manifest = msgspec.structs.replace(bundles[Task.GLUCOSE].manifest, preferred_batch=12)
    whole = bundles[Task.GLUCOSE]
    bundle = Bundle(
        whole.task, whole.hash, whole.folder, manifest, whole.golden_inputs, whole.golden_outputs, whole.file_hashes
    )
    assert max(open_onnx(bundle).sizes) == 12


def respun(
    bundle: Bundle,
    folder: Path,
    change: Callable[[dict[str, Array]], dict[str, Array]],
    onnx: bytes | None = None,
) -> Bundle:
    """The bundle with other golden answers, or another network."""
    for name in bundle.file_hashes:
        (folder / name).write_bytes(bundle.read(name))
    (folder / GOLDEN_FILE).write_bytes(golden_bytes(bundle.golden_inputs, change(bundle.golden_outputs)))
    if onnx is not None:
        (folder / ONNX_FILE).write_bytes(onnx)
    return opened(folder)


assert CONTEXT == 8  # the libraries above take the context for their input
