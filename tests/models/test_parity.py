from __future__ import annotations

import numpy as np
import pytest

from models import parity
from models.engine import Array
from models.spec import AffineSoftmax
from tests.support.bundles import manifest_of
from vitals.findings import Task

MANIFEST = manifest_of(Task.ECG_BEAT)


def answers(rows: int = 20) -> dict[str, Array]:
    return {"logits": np.random.default_rng(1).normal(0, 3, (rows, 5)).astype(np.float32)}


def compared(candidate: dict[str, Array], tolerance: parity.Tolerance = parity.SINGLE) -> parity.Parity:
    return parity.compare(MANIFEST, answers(), candidate, tolerance, names=("this", "that"))


def test_equal_answers_pass_with_no_difference() -> None:
    verdict = compared(answers())
    assert verdict.passed
    assert [output.name for output in verdict.outputs] == ["logits", parity.CALIBRATED]
    assert {output.max_absolute for output in verdict.outputs} == {0.0}


def test_one_number_beyond_the_tolerance_fails_and_its_row_is_named() -> None:
    candidate = answers()
    candidate["logits"][13, 2] += 0.5
    verdict = compared(candidate)
    assert not verdict.passed
    assert verdict.outputs[0].worst_row == 13
    assert verdict.outputs[0].max_absolute == pytest.approx(0.5, rel=1e-5)
    assert "DIFFERENT" in verdict.table()
    assert "that against this, 20 rows" in verdict.table()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_fails_and_is_no_crash(value: float) -> None:
    candidate = answers()
    candidate["logits"][4, 0] = value
    verdict = compared(candidate)
    assert not verdict.passed
    assert verdict.outputs[0].worst_row == 4
    assert verdict.table()


def test_a_difference_that_calibration_hides_still_fails_on_the_raw_output() -> None:
    candidate = answers()
    assert isinstance(MANIFEST.calibration, AffineSoftmax)
    candidate["logits"] += np.float32(1.0) / np.float32(MANIFEST.calibration.scale)  # one shift, unseen by a softmax
    verdict = compared(candidate)
    assert not verdict.outputs[0].passed
    assert verdict.outputs[1].passed
    assert not verdict.passed


def test_a_missing_row_is_refused() -> None:
    with pytest.raises(ValueError, match="compared with"):
        compared({"logits": answers()["logits"][:-1]})


def test_mg_dl_have_room_for_their_scale_and_logits_do_not() -> None:
    manifest = manifest_of(Task.GLUCOSE)
    rng = np.random.default_rng(2)
    said = {s.name: rng.normal(0, 1, (8, *s.row_shape)).astype(np.float32) for s in manifest.outputs}
    off = {name: array + np.float32(0.1) for name, array in said.items()}
    verdict = parity.compare(manifest, said, off, parity.HALF, names=("a", "b"))
    assert {output.name: output.passed for output in verdict.outputs if output.name != parity.CALIBRATED} == {
        "mean": True,
        "quantiles": True,
        "limit_logits": False,
    }
