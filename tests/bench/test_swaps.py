from __future__ import annotations

import pytest

from bench.swaps import swapped


@pytest.mark.broker
def test_a_few_swaps_under_a_small_ward_lose_nothing_and_mix_nothing() -> None:
    seen = swapped(patients=32, swaps=2, quiet_s=3, per_gateway=8)
    assert (seen.lost, seen.mixed_batches, seen.dropped) == (0, 0, 0)
    assert seen.events > 32 * 20
    assert seen.checked_patients == 32
    assert seen.checked_findings > 32 * 20
    assert seen.paired_windows > 0
