from __future__ import annotations

import numpy as np
import pytest
import torch

from models.nets import catalogue, ecg, glucose, imaging
from tests.models.conftest import TASKS
from tests.support.bundles import CONTEXT, manifest_of, network_for, rows_of
from vitals.findings import Task

pytestmark = pytest.mark.torch

MOST_PARAMETERS = 150_000


def tensors(task: Task, rows: int) -> list[torch.Tensor]:
    given = rows_of(task, rows)
    return [torch.from_numpy(given[spec.name]) for spec in manifest_of(task).inputs]


@pytest.mark.parametrize("name", [ecg.NETWORK, glucose.NETWORK, imaging.NETWORK])
def test_every_network_is_small(name: str) -> None:
    network = catalogue.build(name, {"context": 16} if name == ecg.NETWORK else {})
    assert 10_000 < sum(weight.numel() for weight in network.parameters()) < MOST_PARAMETERS


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("resnet-50", {}), (ecg.NETWORK, {}), (ecg.NETWORK, {"context": 8, "layers": 2}), (glucose.NETWORK, {"width": 3})],
)
def test_a_network_that_nobody_wrote_is_refused(name: str, arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="network"):
        catalogue.build(name, arguments)


@pytest.mark.parametrize("task", TASKS)
def test_every_input_reaches_every_output_and_every_weight_learns(task: Task) -> None:
    network = network_for(manifest_of(task)).train()
    inputs = [tensor.requires_grad_() for tensor in tensors(task, 64)]
    answers = network(*inputs)
    for answer in (answers,) if isinstance(answers, torch.Tensor) else answers:
        gradients = torch.autograd.grad(answer.square().sum(), inputs, retain_graph=True)
        assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)
    sum(a.square().sum() for a in ([answers] if isinstance(answers, torch.Tensor) else answers)).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_a_beat_of_one_lead_says_nothing_of_the_lead_that_is_absent() -> None:
    network = network_for(manifest_of(Task.ECG_BEAT))
    features: list[torch.Tensor] = []
    network.shape.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    ecg_mv, context = tensors(Task.ECG_BEAT, 10)
    ecg_mv[:, 1] = 0
    for training in (False, True):
        network.train(training)
        network(ecg_mv, context)
        assert bool((features[-1][:, 1] == 0).all())
        assert bool((features[-1][:, 0] != 0).any())


def test_leads_are_mixed_while_training_and_never_while_serving() -> None:
    network = network_for(manifest_of(Task.ECG_BEAT))
    seen: list[torch.Tensor] = []
    network.electrodes.register_forward_hook(lambda _, __, mixed: seen.append(mixed))
    ecg_mv, context = tensors(Task.ECG_BEAT, 10)
    network(ecg_mv, context)
    assert bool((seen[-1] == ecg_mv).all())
    network.train()
    network(ecg_mv, context)
    both = (ecg_mv != 0).any(dim=2).all(dim=1)
    assert bool((seen[-1][both] != ecg_mv[both]).any(dim=2).all())


def test_the_shape_of_a_beat_is_judged_apart_from_its_size() -> None:
    network = network_for(manifest_of(Task.ECG_BEAT))
    shapes: list[torch.Tensor] = []
    network.shape.register_forward_pre_hook(lambda _, given: shapes.append(given[0]))
    ecg_mv, context = tensors(Task.ECG_BEAT, 4)
    answers = network(ecg_mv, context), network(ecg_mv * 3, context)
    assert shapes[0].numpy() == pytest.approx(shapes[1].numpy(), rel=0.02, abs=0.02)
    assert bool((answers[0] != answers[1]).any())  # the size is not thrown away


def test_an_artefact_of_volts_does_not_overflow_in_float16() -> None:
    network = network_for(manifest_of(Task.ECG_BEAT))
    shapes: list[torch.Tensor] = []
    network.shape.register_forward_pre_hook(lambda _, given: shapes.append(given[0]))
    network(torch.full((2, 2, 192), 3000.0), torch.zeros(2, CONTEXT))
    assert float(shapes[-1].abs().max()) < 10


def test_quantiles_rise_for_any_window() -> None:
    network = network_for(manifest_of(Task.GLUCOSE))
    with torch.no_grad():
        network.quantiles.weight.mul_(30)
        _, quantiles, _ = network(*tensors(Task.GLUCOSE, 200))
    assert bool((quantiles.diff(dim=2) >= 0).all())


def test_a_forecast_starts_from_the_reading_and_unknown_steps_do_not_count_as_zero_mg_dl() -> None:
    network = network_for(manifest_of(Task.GLUCOSE))
    with torch.no_grad():
        for layer in (network.mean, network.quantiles):
            layer.weight.zero_()
            layer.bias.zero_()
        (window,) = tensors(Task.GLUCOSE, 8)
        mean, quantiles, _ = network(window)
        assert mean.numpy() == pytest.approx(np.repeat(window[:, -1:, 0].numpy() * 100, 12, axis=1), rel=1e-6)
        assert quantiles[:, :, 2].numpy() == pytest.approx(mean.numpy(), rel=1e-6)
        network.mean.weight[:, 64 : 64 + 24] = 1.0  # the changes of the last two hours
        flat = torch.zeros(1, 48, 2)
        flat[:, -6:] = torch.tensor([1.2, 1.0])
        mean, _, _ = network(flat)
    assert mean.numpy() == pytest.approx(120, rel=1e-5)
