"""Arbitrary and mutated bytes through every decoder: a value, or the one error it may raise, and never much memory."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import Target, targets

TARGETS = targets()
_LARGEST = 65_536


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with a few bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(seeds))[:_LARGEST])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                data[at:at] = draw(st.binary(max_size=8))
            case 2:
                del data[at : at + draw(st.integers(1, 64))]
            case 3:
                data[at : at + 4] = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"]))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_well_formed_bytes_are_taken(target: Target) -> None:
    for seed in target.seeds:
        target.take(seed)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_any_bytes_end_in_a_value_or_in_the_one_error(target: Target) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(st.one_of(st.binary(max_size=200), mutated(target.seeds), mutated(target.seeds)))
    @example(b"")
    def run(data: bytes) -> None:
        target.take(data)

    run()
