"""The short set: each kind of fault once. ``make faults`` does it at length and measures."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.broker import JavaNode
from tests.faults import acts
from tests.faults.hall import Act, perform

pytestmark = pytest.mark.broker


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(acts.kills(3), id="killed_three_times"),
        pytest.param(acts.frozen_worker_beside_another, id="stopped_longer_than_its_session_beside_another_and_back"),
        pytest.param(acts.broker_killed, id="the_broker_killed_and_back"),
        pytest.param(acts.model_swap, id="another_model_under_load"),
        pytest.param(acts.errors("window", "alert"), id="errors_that_nobody_expects"),
        pytest.param(acts.silent_stop("glucose", 5.0), id="a_half_that_hangs"),
    ],
)
def test_nothing_is_lost_doubled_or_different(act: Act, broker: JavaNode, tmp_path: Path) -> None:
    outcome = perform(act, broker, tmp_path, data=None, seed=1, say=lambda _: None)
    assert outcome.is_clean, outcome.told()
    assert outcome.accounts["findings"].expected > 100
    assert outcome.accounts["alarms"].expected > 0
