"""Every disorder of devices and gateways has a rule (docs/order.md): each is walked here from door to alarm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import msgspec
import pytest

from stream.checkpoint import Owners
from stream.deciding import Decide
from stream.imagestore import ImageStore
from stream.modelslot import ModelSlot
from stream.observing import ObserveEcg, ObserveGlucose, ObserveImaging, Observing
from stream.pipeline import Half, Products
from stream.topics import PARTITIONS, Topic
from tests.support.findings import decoded
from tests.support.ward import RATE_HZ, heart
from vitals import codec
from vitals.alerts import AlertEvent, AlertTransition
from vitals.conditions import Condition
from vitals.decision import Taken
from vitals.errors import Reason
from vitals.events import Checkpoint, EcgBundle, GlucoseReading, ImagingEvent, Record
from vitals.findings import Task
from vitals.signal import NOT_MEASURED
from vitals.units import US_PER_MS, US_PER_S
from vitals.windows import ecg, glucose, image

START_US = 1_700_000_000 * US_PER_S
HOUR_US = 3600 * US_PER_S
TOLD = Observing(max_patients=100, clock_ahead_us=60 * US_PER_S, archive_share=0.0)
SECONDS = 100
HEART = heart(SECONDS, 72)
RATE = round(RATE_HZ)
PARTITION = crc32(b"ann") % PARTITIONS
C, E = Condition, AlertEvent


def slot(task: Task, spec: str) -> ModelSlot:
    """Nothing but rules."""
    return ModelSlot(task, spec, lambda _: None)


def ecg_slots() -> dict[Task, ModelSlot]:
    return {Task.ECG_BEAT: slot(Task.ECG_BEAT, ecg.BEAT_SPEC), Task.ECG_AF: slot(Task.ECG_AF, ecg.RECENT_SPEC)}


def chunk(
    second: float,
    *,
    gateway: str = "gateway-a",
    seconds: float = 1.0,
    shift_us: int = 0,
    sequence: int = 0,
    measured: bool = True,
) -> EcgBundle:
    """Samples of Ann's heart from ``second`` on, on a clock that is ``shift_us`` ahead."""
    first, last = round(second * RATE), round((second + seconds) * RATE)
    samples = HEART.samples[:, first:last]
    if not measured:
        samples = samples * 0 + NOT_MEASURED
    return EcgBundle(
        gateway=gateway,
        sequence=sequence,
        patients=["ann"],
        devices=["monitor"],
        start_us=[START_US + round(first * US_PER_S / RATE) + shift_us],
        rate_hz=[RATE_HZ],
        leads=[["MLII", "V1"]],
        gain_uv=[HEART.gain_uv],
        n_samples=[samples.shape[1]],
        samples=samples.astype("<i2").tobytes(),
    )


@dataclass
class Corridor:
    """Both halves behind one another, a record at a time, as if it arrived when its last sample had been taken."""

    observe: Half = field(default_factory=lambda: ObserveEcg(ecg_slots(), TOLD))
    decide: Decide = field(default_factory=Decide)
    refused: Counter[Reason] = field(default_factory=Counter)
    decided: Counter[Taken] = field(default_factory=Counter)
    scored: int = 0
    waiting: int = 0
    found: list[bytes] = field(default_factory=list)
    steps: list[AlertTransition] = field(default_factory=list)
    offset: int = 0

    def send(self, event: EcgBundle | GlucoseReading | ImagingEvent, arrives_s: float) -> Products:
        topic = {EcgBundle: Topic.ECG, GlucoseReading: Topic.GLUCOSE, ImagingEvent: Topic.IMAGING}[type(event)]
        arrived_ms = (START_US + round(arrives_s * US_PER_S)) // US_PER_MS
        record = Record(topic.value, 0, self.offset, arrived_ms, b"key", codec.encode(event))
        self.offset += 1
        products = self.observe.process([record], Owners(0))
        self.refused += products.refused
        self.scored += products.scored
        self.waiting = products.waiting if products.waiting is not None else self.waiting
        findings = [m for m in products.messages if m.topic is Topic.FINDINGS]
        self.found += [m.value for m in findings if m.value is not None]
        self._take(
            self.decide.process(
                [
                    Record(Topic.FINDINGS.value, m.partition or 0, self.offset, arrived_ms, None, m.value or b"")
                    for m in findings
                ],
                Owners(0),
            )
        )
        return products

    def play(self, bundles: Iterable[EcgBundle], arrives_s: Iterable[float] | None = None) -> None:
        """Bundles one after the other; without ``arrives_s`` each when it is whole on a right clock."""
        given = list(bundles)
        times = list(arrives_s) if arrives_s is not None else [_end_s(bundle) for bundle in given]
        for bundle, at_s in zip(given, times, strict=True):
            self.send(bundle, at_s)

    def tick(self, second: float) -> None:
        products = self.decide.tick(START_US + round(second * US_PER_S))
        assert products is not None
        self._take(products)

    def _take(self, products: Products) -> None:
        self.decided += products.decided
        self.steps += [codec.decode(AlertTransition, m.value) for m in products.messages if m.topic is Topic.ALERTS]

    def course(self, condition: Condition) -> list[AlertEvent]:
        return [step.event for step in self.steps if step.condition is condition]

    def clinical(self) -> list[bytes]:
        """Every step but those about a second monitor, without the time of arrival."""
        kept = [step for step in self.steps if step.condition is not C.ECG_TWO_MONITORS]
        return [codec.encode(msgspec.structs.replace(step, input_ms=0)) for step in kept]

    def ends(self, task: Task) -> list[int]:
        return [end for batch in decoded(self.found) if batch.task is task for end in batch.end_us]

    def is_conserved(self) -> bool:
        return self.scored + self.refused.total() + self.waiting == self.offset


def _end_s(bundle: EcgBundle) -> float:
    return (bundle.start_us[0] - START_US) / US_PER_S + bundle.n_samples[0] / RATE_HZ


def undisturbed(seconds: int = 30) -> Corridor:
    ward = Corridor()
    ward.play(chunk(s) for s in range(seconds))
    return ward


def same_findings(one: Corridor, other: Corridor) -> bool:
    return all(one.ends(task) == other.ends(task) for task in (Task.ECG_BEAT, Task.ECG_RHYTHM))


# -- one stream ----------------------------------------------------------------------------------------------------


def test_doubled_and_overlapping_chunks_change_nothing_and_only_the_doubled_are_counted() -> None:
    ward = Corridor()
    for s in range(30):
        ward.play([chunk(s), chunk(s), chunk(max(0, s - 0.5), seconds=1.5 if s else 1)], [s + 1.1] * 3)
    assert ward.refused == {Reason.DUPLICATE: 60}
    assert same_findings(ward, undisturbed())
    assert ward.is_conserved()


def test_a_chunk_that_reaches_into_the_new_is_taken_from_there_on() -> None:
    ward = Corridor()
    ward.play([chunk(0), *(chunk(s - 0.5, seconds=1.5) for s in range(1, 30))])
    assert ward.refused == {}
    assert same_findings(ward, undisturbed())


def test_an_early_chunk_leaves_a_gap_and_the_one_it_overtook_is_too_late() -> None:
    ward = Corridor()
    ward.play([*map(chunk, range(10)), chunk(11), chunk(10), *map(chunk, range(12, 30))], [30.0] * 30)
    assert ward.refused[Reason.TOO_LATE] == 1
    assert set(ward.refused) <= {Reason.TOO_LATE, Reason.WINDOW_CUT}
    assert ward.is_conserved()


def test_a_sequence_that_begins_again_means_nothing() -> None:
    ward = Corridor()
    ward.play(chunk(s, sequence=s % 7) for s in range(30))
    assert ward.refused == {}
    assert ward.found == undisturbed().found
    assert ward.steps == undisturbed().steps


# -- clocks --------------------------------------------------------------------------------------------------------


def test_a_clock_an_hour_fast_is_refused_and_kept_and_the_right_one_goes_on_as_after_a_gap() -> None:
    ward = Corridor()
    ward.play(chunk(s) for s in range(20))
    ward.play([chunk(s, shift_us=HOUR_US) for s in range(20, 35)], [s + 1.0 for s in range(20, 35)])
    ward.tick(35)
    assert ward.refused[Reason.CLOCK_AHEAD] == 15
    assert ward.course(C.ECG_NO_DATA) == [E.RAISED]
    ward.play(chunk(s) for s in range(35, 60))
    assert ward.course(C.ECG_NO_DATA) == [E.RAISED, E.CLEARED]
    assert max(ward.ends(Task.ECG_RHYTHM)) == START_US + 59 * US_PER_S
    assert ward.is_conserved()


def test_a_clock_set_back_an_hour_is_too_late_for_a_minute_and_then_scored_but_still_no_data_at_the_bed() -> None:
    """What happens now and calls itself an hour old cannot be told from what is an hour old."""
    ward = Corridor()
    ward.play(chunk(s) for s in range(10))
    ward.play([chunk(s, shift_us=-HOUR_US) for s in range(10, 90)], [s + 1.0 for s in range(10, 90)])
    assert ward.refused[Reason.TOO_LATE] == 59
    scored = [end for end in ward.ends(Task.ECG_RHYTHM) if end < START_US]
    assert len(scored) > 15
    assert ward.decided[Taken.KNOWN] >= len(scored)
    ward.tick(90)
    assert ward.course(C.ECG_NO_DATA) == [E.RAISED]
    ward.play(chunk(s) for s in range(90, 100))
    assert ward.course(C.ECG_NO_DATA) == [E.RAISED, E.CLEARED]
    assert ward.is_conserved()


def test_a_clock_that_was_an_hour_slow_and_is_set_right_goes_on_as_after_a_gap() -> None:
    ward = Corridor()
    ward.play([chunk(s, shift_us=-HOUR_US) for s in range(20)], [s + 1.0 for s in range(20)])
    ward.play(chunk(s) for s in range(20, 40))
    assert ward.refused.keys() <= {Reason.WINDOW_CUT}
    assert ward.decided[Taken.KNOWN] == 0
    assert max(ward.ends(Task.ECG_RHYTHM)) == START_US + 39 * US_PER_S


# -- two gateways --------------------------------------------------------------------------------------------------


def both(seconds: Sequence[int], *, late_s: float = 0.0, shift_us: int = 0) -> list[EcgBundle]:
    """Gateway B sends what A sends."""
    return [
        bundle
        for s in seconds
        for bundle in (chunk(s), chunk(s, gateway="gateway-b", shift_us=shift_us + round(late_s * US_PER_S)))
    ]


@pytest.mark.parametrize("shift_us", [0, 3_000, 4_000_000, -30_000_000])
def test_a_patient_sent_by_two_gateways_is_decided_from_the_first_and_the_bed_says_that_there_are_two(
    shift_us: int,
) -> None:
    ward, alone = Corridor(), undisturbed(40)
    bundles = both(range(40), shift_us=shift_us)
    ward.play(bundles, [s // 2 + 1.0 for s in range(80)])
    assert ward.decided[Taken.DECIDED] == alone.decided[Taken.DECIDED]
    assert (
        ward.decided[Taken.OTHER_SOURCE]
        == sum(len(ward.ends(task)) for task in (Task.ECG_BEAT, Task.ECG_RHYTHM, Task.ECG_AF))
        - alone.decided[Taken.DECIDED]
    )
    assert ward.clinical() == alone.clinical()
    assert ward.course(C.ECG_TWO_MONITORS) == [E.RAISED]
    ward.play(chunk(s) for s in range(40, 70))
    assert ward.course(C.ECG_TWO_MONITORS) == [E.RAISED, E.CLEARED]


def test_a_clock_that_is_ahead_takes_the_bed_once_and_keeps_it() -> None:
    ward = Corridor()
    bundles = both(range(60), shift_us=30 * US_PER_S)
    ward.play(bundles, [s // 2 + 1.0 for s in range(120)])
    taken_over = [end for end in ward.ends(Task.ECG_RHYTHM) if end > START_US + 60 * US_PER_S]
    assert len(taken_over) > 25
    assert ward.decided[Taken.KNOWN] == 0
    assert ward.course(C.ECG_NO_DATA) == [E.RAISED, E.CLEARED]  # the half minute between the clocks, told afterwards


def test_a_second_monitor_that_can_be_believed_takes_over_from_one_whose_electrodes_are_off() -> None:
    ward = Corridor()
    for s in range(60):
        on = s < 20
        ward.play([chunk(s, measured=on), chunk(s, gateway="gateway-b")])
    assert ward.course(C.ECG_LEAD_OFF) == [E.RAISED, E.CLEARED]
    assert ward.course(C.ECG_NO_DATA) == []
    lead_off = [step for step in ward.steps if step.condition is C.ECG_LEAD_OFF]
    assert lead_off[1].time_us <= START_US + 32 * US_PER_S
    ward.tick(60)
    assert ward.course(C.ECG_NO_DATA) == []


def test_a_patient_moved_to_another_gateway_is_followed_there_before_silence_is_alarmed() -> None:
    ward = Corridor()
    ward.play(chunk(s) for s in range(20))
    for s in range(21, 50):
        ward.play([chunk(s, gateway="gateway-b")])
        ward.tick(s + 1)
    assert ward.course(C.ECG_NO_DATA) == []
    assert ward.course(C.ECG_TWO_MONITORS) == []
    assert 0 < ward.decided[Taken.OTHER_SOURCE] <= 12
    # the old monitor is put on somebody else's shelf, and sends its empty cables under the old name
    for s in range(50, 80):
        ward.play([chunk(s, gateway="gateway-b"), chunk(s, measured=False)])
    assert ward.course(C.ECG_LEAD_OFF) == []
    assert ward.course(C.ECG_TWO_MONITORS) == []


def test_a_restart_between_two_gateways_goes_on_with_the_one_that_was_followed() -> None:
    ward, restarted = Corridor(), Corridor()
    for s in range(30):
        for corridor in (ward, restarted):
            corridor.play([chunk(s), chunk(s, gateway="gateway-b")])
        owner = f"decide/{PARTITION}"
        fresh = Decide()
        state = restarted.decide.snapshot(owner)
        fresh.restore(Checkpoint(owner=owner, partition=PARTITION, offsets={}, state=state))
        restarted.decide = fresh
    assert restarted.decided == ward.decided
    assert [codec.encode(s) for s in restarted.steps] == [codec.encode(s) for s in ward.steps]


# -- readings and images -------------------------------------------------------------------------------------------


def reading(minute: float, glucose_mg_dl: float, device: str = "cgm-a") -> GlucoseReading:
    return GlucoseReading(
        patient="ann", device=device, time_us=START_US + round(minute * 60 * US_PER_S), glucose=glucose_mg_dl
    )


def test_readings_of_two_gateways_merge_by_time_and_the_first_value_of_a_time_holds() -> None:
    ward = Corridor(observe=ObserveGlucose(slot(Task.GLUCOSE, glucose.SPEC), TOLD))
    for minute in range(0, 60, 5):
        ward.send(reading(minute, 100 + minute), minute * 60 + 1)
        ward.send(reading(minute, 300, "cgm-b"), minute * 60 + 2)
    ward.send(reading(57, 155, "cgm-b"), 3600)
    ward.send(reading(52, 155, "cgm-b"), 3600)
    assert ward.refused == {Reason.DUPLICATE: 12, Reason.TOO_LATE: 1}
    assert len(ward.ends(Task.GLUCOSE)) == 13
    assert ward.decided == {Taken.DECIDED: 13}
    assert ward.course(C.GLUCOSE_VERY_HIGH) == []


def test_an_image_that_two_gateways_tell_of_is_read_once() -> None:
    slots = {Task.PNEUMONIA: slot(Task.PNEUMONIA, image.SPEC)}
    ward = Corridor(observe=ObserveImaging(slots, ImageStore(()), TOLD))
    event = ImagingEvent(
        patient="ann", time_us=START_US, study="st", series="se", instance="i", modality="DX", body_part="CHEST",
        pixels=bytes(range(256)) * 3 + bytes(16), rows=28, columns=28,
    )  # fmt: skip
    for _ in range(2):
        ward.send(event, 1)
    assert ward.refused == {Reason.DUPLICATE: 1}
    assert len(ward.ends(Task.PNEUMONIA)) == 1
