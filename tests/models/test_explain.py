from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from models.engine import Array, Rung
from models.engines.onnx import open_onnx
from models.engines.subbatch import Runner, SubBatched
from models.explain import occluded
from models.registry import Bundle, Registry
from tests.support.bundles import rows_of
from vitals.findings import Task

SHIPPED = Path(__file__).parents[2] / "models" / "bundles"

pytestmark = pytest.mark.torch


def test_what_a_model_looks_at_is_what_is_said_to_matter(bundles: dict[Task, Bundle]) -> None:
    bundle = bundles[Task.ECG_BEAT]

    def looks_at_one_place(rows: dict[str, Array]) -> dict[str, Array]:
        logits = np.zeros((len(rows["context"]), 5), np.float32)
        logits[:, 2] = rows["ecg_mv"][:, 0, 88:96].sum(axis=1) + 0.5 * rows["context"][:, 3]
        return {"logits": logits}

    engine = SubBatched(
        Rung.ONNX_CPU, bundle.manifest, bundle.golden_inputs, Runner(looks_at_one_place, lambda: None, (32,), ())
    )
    window = {name: array[:1].copy() for name, array in rows_of(Task.ECG_BEAT, 1).items()}
    window["ecg_mv"][0, 0, 88:96] = 0.3
    window["context"][0, 3] = 3.0
    carried = occluded(bundle, engine, window, "p_v")
    assert carried["ecg_mv"].shape == (2, 192)
    assert (carried["ecg_mv"][0, 88:96] > 0.1).all()
    assert np.count_nonzero(carried["ecg_mv"]) == 8
    assert carried["context"][3] > 0.1
    assert np.count_nonzero(carried["context"]) == 1
    assert (occluded(bundle, engine, window, "p_n")["ecg_mv"][0, 88:96] < 0).all()


@pytest.mark.parametrize(("task", "column"), [(Task.GLUCOSE, "h30_mean"), (Task.PNEUMONIA, "p_pneumonia")])
def test_every_kind_of_model_can_be_explained(task: Task, column: str, bundles: dict[Task, Bundle]) -> None:
    window = rows_of(task, 1)
    before = {name: array.copy() for name, array in window.items()}
    carried = occluded(bundles[task], open_onnx(bundles[task]), window, column)
    for name, array in carried.items():
        assert array.shape == window[name].shape[1:]
        assert np.abs(array).max() > 0
        assert window[name].tobytes() == before[name].tobytes()


def test_an_unknown_column_and_two_windows_are_refused(bundles: dict[Task, Bundle]) -> None:
    bundle = bundles[Task.GLUCOSE]
    with pytest.raises(ValueError, match="does not fill p_v"):
        occluded(bundle, open_onnx(bundle), rows_of(Task.GLUCOSE, 1), "p_v")
    with pytest.raises(ValueError, match="one window"):
        occluded(bundle, open_onnx(bundle), rows_of(Task.GLUCOSE, 2), "h30_mean")


def test_a_network_of_random_weights_is_explained_otherwise(bundles: dict[Task, Bundle]) -> None:
    """Sanity check of Adebayo et al. 2018 (arXiv:1810.03292): what the picture alone brings about explains nothing."""
    trained, random = Registry(SHIPPED).current(Task.PNEUMONIA), bundles[Task.PNEUMONIA]
    assert trained is not None
    agree = []
    for row in range(8):
        window = {name: rows[row : row + 1] for name, rows in trained.golden_inputs.items()}
        one, other = (
            occluded(bundle, open_onnx(bundle), window, "p_pneumonia")["image"].ravel() for bundle in (trained, random)
        )
        agree.append(abs(spearmanr(np.abs(one), np.abs(other)).statistic))
    assert np.mean(agree) < 0.5
