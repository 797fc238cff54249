from __future__ import annotations

import pytest

from bench.swaps import Name, Said, Table, held, swapped


@pytest.mark.broker
def test_a_few_swaps_under_a_small_ward_lose_nothing_and_mix_nothing() -> None:
    seen = swapped(patients=32, swaps=2, quiet_s=3, per_gateway=8)
    assert (seen.lost, seen.mixed_batches, seen.dropped) == (0, 0, 0)
    assert seen.events > 32 * 20
    assert seen.checked_patients == 32
    assert seen.checked_findings > 32 * 20
    assert seen.paired_windows > 0


def table(model: str, said: dict[str, float], at: int = 1) -> Table:
    """One beat of each patient."""
    return Table(
        task="ecg-beat",
        model=model,
        patients=list(said),
        row=list(range(len(said))),
        end_us=[at] * len(said),
        values=[list(said.values())],
    )


OLD, NEW = {"ann": 0.1, "ben": 0.2}, {"ann": 0.3, "ben": 0.4}
ALONE: dict[str, dict[Name, Said]] = {
    model: {(patient, "ecg-beat", at): (p,) for patient, p in said.items() for at in (1, 2)}
    for model, said in (("old", OLD), ("new", NEW))
}


def test_a_swap_between_two_tables_is_as_it_should_be() -> None:
    assert held([(0, table("old", OLD)), (0, table("new", NEW, at=2))], ALONE, swaps=1) == (0, 0, 4)


def test_a_table_with_one_row_of_the_other_model_is_mixed() -> None:
    half = {"ann": OLD["ann"], "ben": NEW["ben"]}
    for model in ("old", "new"):
        assert held([(0, table(model, half)), (0, table("new", NEW, at=2))], ALONE, swaps=1) == (0, 1, 4)


def test_a_table_of_a_model_that_nobody_released_is_mixed() -> None:
    tables = [(0, table("rules", OLD)), (1, table("new", NEW, at=2))]
    assert held(tables, ALONE, swaps=1) == (0, 1, 4)


def test_a_model_that_comes_back_without_a_swap_is_mixed() -> None:
    tables = [(0, table(m, said)) for m, said in (("old", OLD), ("new", NEW), ("old", OLD))]
    assert held([*tables, (0, table("old", OLD, at=2))], ALONE, swaps=1) == (0, 1, 4)


def test_a_finding_that_never_came_is_lost() -> None:
    assert held([(0, table("old", OLD)), (0, table("old", {"ann": OLD["ann"]}, at=2))], ALONE, swaps=1) == (1, 0, 3)
