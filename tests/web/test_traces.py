"""Traces of the beds on view, cut from bundles."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from stream.web.tracereader import PartitionPlan
from stream.web.traces import MAX_KEPT_BYTES, Traces
from vitals import codec
from vitals.events import EcgBundle

SECOND_US = 1_000_000
START_US = 1_700_000_000 * SECOND_US


def bundle(
    second: int, beds: Sequence[str], *, rate_hz: float = 250.0, leads: Sequence[str] = ("V1", "MLII")
) -> EcgBundle:
    """Lead ``k`` of bed ``b`` is flat at ``100 * b + 10 * k + second % 10``."""
    n = round(rate_hz)
    values = [100 * (b % 300) + 10 * k + second % 10 for b in range(len(beds)) for k in range(len(leads))]
    count = len(beds)
    return EcgBundle(
        gateway="g",
        sequence=second,
        patients=list(beds),
        devices=["d"] * count,
        start_us=[START_US + second * SECOND_US] * count,
        rate_hz=[rate_hz] * count,
        leads=[list(leads)] * count,
        gain_uv=[5.0] * count,
        n_samples=[n] * count,
        samples=np.repeat(np.array(values, "<i2"), n).tobytes(),
    )


def take(traces: Traces, event: EcgBundle, partition: int = 0, content_type: str = codec.MSGPACK) -> None:
    arrived_us = START_US + (event.sequence + 1) * SECOND_US
    traces.take(codec.encode(event, content_type), content_type, partition, arrived_us)


@pytest.mark.parametrize("content_type", [codec.MSGPACK, codec.JSON])
def test_the_preferred_lead_of_the_right_bed_is_cut_out(content_type: str) -> None:
    traces = Traces()
    traces.show({"b"})
    take(traces, bundle(3, ["a", "b", "c"]), content_type=content_type)
    (chunk,) = traces.since("b", 0)
    assert (chunk.lead, chunk.rate_hz, chunk.gain_uv, chunk.start_us) == ("MLII", 250.0, 5.0, START_US + 3 * SECOND_US)
    assert np.unique(chunk.samples).tolist() == [113]
    assert traces.since("a", 0) == []


def test_a_bed_that_comes_on_view_has_its_last_seconds_at_once() -> None:
    traces = Traces()
    for second in range(30):
        take(traces, bundle(second, ["a"]))
    traces.show({"a"})
    chunks = traces.since("a", 0)
    assert [chunk.start_us for chunk in chunks] == [START_US + s * SECOND_US for s in range(17, 30)]
    assert traces.since("a", chunks[-1].number) == []


def test_a_duplicate_is_drawn_once_and_a_clock_set_back_begins_anew() -> None:
    traces = Traces()
    traces.show({"a"})
    for second in (100, 101, 101, 100, 102):
        take(traces, bundle(second, ["a"]))
    assert len(traces.since("a", 0)) == 3
    take(traces, bundle(20, ["a"]))
    assert [chunk.start_us for chunk in traces.since("a", 0)] == [START_US + 20 * SECOND_US]


def test_thinning_a_fast_signal_keeps_its_peaks_and_its_gaps() -> None:
    event = bundle(0, ["a"], rate_hz=2000.0, leads=["II"])
    samples = np.zeros(2000, "<i2")
    samples[1001], samples[777], samples[1502] = 900, -700, -32768
    traces = Traces()
    traces.show({"a"})
    take(traces, msgspec.structs.replace(event, samples=samples.tobytes()))
    (chunk,) = traces.since("a", 0)
    assert chunk.rate_hz == 500.0
    assert len(chunk.samples) == 500
    assert {900, -700, -32768} <= set(chunk.samples.tolist())


def test_memory_is_bounded_by_bytes_and_by_seconds() -> None:
    traces = Traces()
    beds = [f"bed-{i}" for i in range(600)]
    for second in range(40):
        take(traces, bundle(second, beds, rate_hz=1000.0))
    assert MAX_KEPT_BYTES / 2 < traces.kept_bytes() <= MAX_KEPT_BYTES
    small = Traces()
    for second in range(40):
        take(small, bundle(second, ["a"]))
    assert small.kept_bytes() < 15 * len(codec.encode(bundle(0, ["a"])))


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x93\x01\x02\x03",
        codec.encode(msgspec.structs.replace(bundle(0, ["a"]), samples=b"\x00\x00")),
        codec.encode(msgspec.structs.replace(bundle(0, ["a"]), n_samples=[250, 250])),
        codec.encode(msgspec.structs.replace(bundle(0, ["a"]), patients=["a", "b"])),
        codec.encode(msgspec.structs.replace(bundle(0, ["a"]), rate_hz=[])),
        codec.encode(msgspec.structs.replace(bundle(0, ["a", "b"]), n_samples=[-250, 750])),
    ],
)
def test_a_bundle_that_does_not_fit_itself_is_refused_and_leaves_the_others(broken: bytes) -> None:
    traces = Traces()
    traces.show({"a"})
    take(traces, bundle(0, ["a"]))
    with pytest.raises(ValueError, match=r"columns|bundle"):
        traces.take(broken, codec.MSGPACK, 0, START_US)
    take(traces, bundle(1, ["a"]))
    assert len(traces.since("a", 0)) == 2


@pytest.mark.parametrize(
    "wrong", [{"rate_hz": [0.0]}, {"rate_hz": [float("nan")]}, {"gain_uv": [0.0]}, {"gain_uv": [1e9]}]
)
def test_an_impossible_rate_or_gain_is_not_drawn(wrong: dict[str, list[float]]) -> None:
    traces = Traces()
    traces.show({"a"})
    take(traces, msgspec.structs.replace(bundle(0, ["a"]), **wrong))
    assert traces.since("a", 0) == []


def test_only_partitions_with_beds_on_view_are_read_once_they_are_found() -> None:
    plan = PartitionPlan({0, 1, 2, 3})
    assert plan.wanted({}, 0.0) == frozenset()
    assert plan.wanted({"a": None, "b": 2}, 1.0) == {0, 1, 2, 3}
    assert plan.wanted({"a": 1, "b": 2}, 2.0) == {1, 2}
    assert plan.wanted({"a": 1}, 3.0) == {1}


def test_a_silent_bed_is_sought_now_and_then_only() -> None:
    plan = PartitionPlan({0, 1, 2, 3})
    reads_all = [plan.wanted({"a": None, "b": 2}, float(s)) == {0, 1, 2, 3} for s in range(60)]
    assert 8 <= sum(reads_all) <= 18
    assert plan.wanted({"a": None, "b": 2}, 20.0) == {2}


def test_a_bed_whose_partition_goes_on_without_it_is_sought_again() -> None:
    traces = Traces()
    traces.show({"a", "b"})
    take(traces, bundle(0, ["a", "b"]), partition=5)
    assert traces.on_view() == {"a": 5, "b": 5}
    for second in range(1, 13):
        take(traces, bundle(second, ["b"]), partition=5)
    assert traces.on_view() == {"a": None, "b": 5}
