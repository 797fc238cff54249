"""Conservation, determinism and idempotence of the observing half, without a broker: any cutting, any bundling."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.alerting import Deciding
from stream.checkpoint import Owners
from stream.modelslot import SHIPPED_BUNDLES, ModelSlot
from stream.observing import ObserveEcg, Observing
from stream.pipeline import Products
from stream.topics import Topic
from tests.support.findings import by_identity, decoded
from tests.support.ward import RATE_HZ, heart
from vitals import codec
from vitals.conditions import Condition
from vitals.errors import Reason
from vitals.events import Checkpoint, EcgBundle, Record
from vitals.findings import FindingBatch, Findings, Task
from vitals.units import US_PER_S

START_US = 1_700_000_000 * US_PER_S
TOLD = Observing(max_patients=100, clock_ahead_us=2**61, archive_share=0.0)
SECONDS = 12
BEDS = {f"bed-{i}": heart(SECONDS, 55 + 20 * i, stops_at_s=5.0 if i == 2 else None, seed=i) for i in range(3)}
ARRIVAL = frozenset({"input_ms"})


def bundle(parts: list[tuple[str, int, int]]) -> EcgBundle:
    """Samples ``first`` to ``last`` of each bed named."""
    return EcgBundle(
        gateway="g",
        sequence=0,
        patients=[name for name, _, _ in parts],
        devices=["d"] * len(parts),
        start_us=[START_US + round(first * US_PER_S / RATE_HZ) for _, first, _ in parts],
        rate_hz=[RATE_HZ] * len(parts),
        leads=[["MLII", "V1"]] * len(parts),
        gain_uv=[BEDS[name].gain_uv for name, _, _ in parts],
        n_samples=[last - first for _, first, last in parts],
        samples=b"".join(BEDS[name].samples[:, first:last].astype("<i2").tobytes() for name, first, last in parts),
    )


def records(bundles: list[EcgBundle]) -> list[Record]:
    return [Record(Topic.ECG.value, 0, i, 1000 + i, b"g", codec.encode(b)) for i, b in enumerate(bundles)]


def findings(products: list[Products]) -> list[FindingBatch]:
    return decoded(m.value for p in products for m in p.messages if m.topic is Topic.FINDINGS and m.value)


def decisions(products: list[Products]) -> tuple[dict[tuple[str, int], object], list[object]]:
    """Risks by (patient, time) and the steps of everybody's alarms, as the decide half makes them."""
    deciding: dict[int | None, Deciding] = {}
    risks: dict[tuple[str, int], object] = {}
    steps: list[object] = []
    for message in (m for p in products for m in p.messages if m.topic is Topic.FINDINGS and m.value):
        made = deciding.setdefault(message.partition, Deciding()).decide([codec.decode(Findings, message.value)])
        for batch in made.risks:
            for i, name in enumerate(zip(batch.patients, batch.time_us, strict=True)):
                row = (batch.probability[i], batch.lower[i], batch.upper[i], batch.band[i])
                assert risks.setdefault(name, (*row, [column[i] for column in batch.end_us])) == (
                    *row,
                    [column[i] for column in batch.end_us],
                )
        steps += [msgspec.structs.replace(step, input_ms=0) for step in made.transitions]
    return risks, sorted(steps, key=lambda step: (step.patient, step.alert_id, step.step, step.time_us))


def by_the_second() -> list[EcgBundle]:
    rate = round(RATE_HZ)
    return [bundle([(name, s * rate, (s + 1) * rate) for name in BEDS]) for s in range(SECONDS)]


@pytest.fixture(scope="module")
def expected(slots: dict[Task, ModelSlot]) -> dict[tuple[str, str, str, int], bytes]:
    products = ObserveEcg(slots, TOLD).process(records(by_the_second()), Owners(0))
    found = by_identity(findings([products]), leave_out=ARRIVAL)
    tasks = Counter(task for _, task, _, _ in found)
    assert tasks[Task.ECG_BEAT.value] >= 25
    assert tasks[Task.ECG_RHYTHM.value] >= 3 * (SECONDS - 3)
    return found


@pytest.fixture(scope="module")
def undisturbed(slots: dict[Task, ModelSlot]) -> tuple[dict[tuple[str, int], object], list[object]]:
    half, owners = ObserveEcg(slots, TOLD), Owners(0)
    risks, steps = decisions([half.process([record], owners) for record in records(by_the_second())])
    assert len(risks) >= 2 * len(BEDS)
    assert Condition.ASYSTOLE in {step.condition for step in steps}
    return risks, steps


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_cutting_and_bundling_gives_the_same_findings_risks_and_alarms(
    data: st.DataObject,
    slots: dict[Task, ModelSlot],
    expected: dict[tuple[str, str, str, int], bytes],
    undisturbed: object,
) -> None:
    total = round(SECONDS * RATE_HZ)
    cuts = {name: sorted({0, total, *data.draw(st.lists(st.integers(1, total - 1), max_size=12))}) for name in BEDS}
    queues = {name: list(pairwise(at)) for name, at in cuts.items()}
    bundles = []
    while any(queues.values()):
        waiting = sorted(name for name, queue in queues.items() if queue)
        chosen = data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True))
        bundles.append(bundle([(name, *queues[name].pop(0)) for name in chosen]))
    half, owners, products = ObserveEcg(slots, TOLD), Owners(0), []
    pending = records(bundles)
    while pending:
        n = data.draw(st.integers(1, len(pending)))
        products.append(half.process(pending[:n], owners))
        pending = pending[n:]
    assert by_identity(findings(products), leave_out=ARRIVAL) == expected
    assert decisions(products) == undisturbed
    chunks = sum(len(b.patients) for b in bundles)
    refused = sum((p.refused for p in products), Counter())
    assert sum(p.scored for p in products) + refused.total() + (products[-1].waiting or 0) == chunks
    assert refused.total() == 0


@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_restart_from_a_checkpoint_gives_the_same_findings(
    after: int, slots: dict[Task, ModelSlot], expected: dict[tuple[str, str, str, int], bytes]
) -> None:
    everything = records(by_the_second())
    first, owners = ObserveEcg(slots, TOLD), Owners(0)
    products = [first.process(everything[:after], owners)]
    saved = Checkpoint(
        owner="ecg/0/g", partition=0, offsets={Topic.ECG.value: after - 1}, state=first.snapshot("ecg/0/g")
    )
    second = ObserveEcg(slots, TOLD)
    second.restore(saved)
    owners = Owners(0)
    owners.restored(saved)
    # as after a crash: the log is read again from further back, and what the state holds is passed over
    products.append(second.process(everything[max(0, after - 3) :], owners))
    assert by_identity(findings(products), leave_out=ARRIVAL) == expected


def test_a_second_copy_of_a_record_is_dropped_as_duplicate(
    slots: dict[Task, ModelSlot], expected: dict[tuple[str, str, str, int], bytes]
) -> None:
    doubled = [b for b in by_the_second() for _ in range(2)]
    products = ObserveEcg(slots, TOLD).process(records(doubled), Owners(0))
    assert by_identity(findings([products]), leave_out=ARRIVAL) == expected
    assert products.refused[Reason.DUPLICATE] == len(BEDS) * SECONDS
    assert products.scored + products.refused.total() + (products.waiting or 0) == 2 * len(BEDS) * SECONDS


def test_a_lost_chunk_cuts_the_window_and_is_counted(slots: dict[Task, ModelSlot]) -> None:
    holed = [b for s, b in enumerate(by_the_second()) if s != 5]
    products = ObserveEcg(slots, TOLD).process(records(holed), Owners(0))
    assert products.scored + products.refused.total() + (products.waiting or 0) == len(BEDS) * (SECONDS - 1)


def test_a_patient_beyond_capacity_is_counted_and_the_others_are_scored(slots: dict[Task, ModelSlot]) -> None:
    small = Observing(max_patients=2, clock_ahead_us=2**61, archive_share=0.0)
    products = ObserveEcg(slots, small).process(records(by_the_second()), Owners(0))
    assert products.refused[Reason.CAPACITY] == SECONDS
    assert {batch.patients[r] for batch in findings([products]) for r in batch.row} == {"bed-0", "bed-1"}


def test_noise_instead_of_a_heart_changes_nothing_for_its_neighbours(
    slots: dict[Task, ModelSlot], expected: dict[tuple[str, str, str, int], bytes]
) -> None:
    rng = np.random.default_rng(0)
    with_noise = []
    for s, quiet in enumerate(by_the_second()):
        extra = rng.integers(-32768, 32767, 720, dtype=np.int16)
        with_noise.append(
            msgspec.structs.replace(
                quiet,
                patients=[*quiet.patients, "noise"],
                devices=[*quiet.devices, "d"],
                start_us=[*quiet.start_us, START_US + s * US_PER_S],
                rate_hz=[*quiet.rate_hz, RATE_HZ],
                leads=[*quiet.leads, ["MLII", "V1"]],
                gain_uv=[*quiet.gain_uv, 5.0],
                n_samples=[*quiet.n_samples, 360],
                samples=quiet.samples + extra.tobytes(),
            )
        )
    products = ObserveEcg(slots, TOLD).process(records(with_noise), Owners(0))
    found = by_identity(findings([products]), leave_out=ARRIVAL)
    assert {k: v for k, v in found.items() if k[0] != "noise"} == expected


def test_the_shipped_models_are_there() -> None:
    assert sorted(p.name for p in SHIPPED_BUNDLES.iterdir() if p.is_dir()) == sorted(
        task.value for task in (Task.ECG_BEAT, Task.GLUCOSE, Task.PNEUMONIA, Task.BREAST, Task.ECG_AF)
    )
    assert all((Path(p) / "CURRENT").is_file() for p in SHIPPED_BUNDLES.iterdir() if p.is_dir())
