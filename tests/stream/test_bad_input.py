"""Every bad record ends by its reason, keeps what a person could use, and harms nobody else."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import pytest

from stream.checkpoint import Owners
from stream.imagestore import ImageStore
from stream.modelslot import ModelSlot
from stream.observing import ObserveEcg, ObserveGlucose, ObserveImaging, Observing
from stream.pipeline import Half, Products
from stream.topics import MAX_MESSAGE_BYTES, PARTITIONS, Topic
from tests.support.bad_input import BadInput, bad_inputs
from vitals import codec
from vitals.errors import Fate, Reason
from vitals.events import DeadLetter, Record
from vitals.findings import Task
from vitals.windows import ecg, glucose
from vitals.windows import image as image_windows

NOW_US = 1_800_000_000_000_000
INPUTS = bad_inputs(NOW_US)


def _halves() -> dict[Topic, Half]:
    """The three halves of observe with nothing but rules behind them."""
    told = Observing(max_patients=1000, clock_ahead_us=60_000_000, archive_share=0.0)
    slots = {
        task: ModelSlot(task, window, lambda _: None)
        for task, window in (
            (Task.ECG_BEAT, ecg.BEAT_SPEC),
            (Task.ECG_AF, ecg.RECENT_SPEC),
            (Task.GLUCOSE, glucose.SPEC),
            (Task.PNEUMONIA, image_windows.SPEC),
            (Task.BREAST, image_windows.SPEC),
        )
    }
    return {
        Topic.ECG: ObserveEcg(slots, told),
        Topic.GLUCOSE: ObserveGlucose(slots[Task.GLUCOSE], told),
        Topic.IMAGING: ObserveImaging(
            {task: slots[task] for task in (Task.PNEUMONIA, Task.BREAST)}, ImageStore(("https://pacs.example/",)), told
        ),
    }


def _record(sent: BadInput, offset: int) -> Record:
    content_type = next((v.decode() for name, v in sent.headers if name == "content-type"), codec.MSGPACK)
    partition = crc32(sent.key) % PARTITIONS
    return Record(sent.topic.value, partition, offset, NOW_US // 1000, sent.key, sent.value, content_type)


@pytest.fixture(scope="module")
def ended() -> list[tuple[BadInput, Products]]:
    """Each input with what became of it, sent one by one."""
    halves, owners = _halves(), Owners(interval_us=4_000_000)
    return [(sent, halves[sent.topic].process([_record(sent, offset)], owners)) for offset, sent in enumerate(INPUTS)]


def test_each_ends_by_its_reason_and_only_by_that(ended: list[tuple[BadInput, Products]]) -> None:
    wrong = {
        str(sent): dict(products.refused)
        for sent, products in ended
        if sent.reason is not None and {r: n for r, n in products.refused.items() if n} != {sent.reason: 1}
    }
    assert wrong == {}


def test_each_is_kept_whole_exactly_when_a_person_could_use_it(ended: list[tuple[BadInput, Products]]) -> None:
    for sent, products in ended:
        letters = [codec.decode(DeadLetter, m.value) for m in products.messages if m.topic is Topic.DEAD_LETTER]
        if sent.reason is None or sent.reason.fate is not Fate.DEAD_LETTER:
            assert letters == [], str(sent)
        else:
            (letter,) = letters
            assert (letter.reason, letter.key) == (sent.reason.value, sent.key), str(sent)
            if sent.reason is not Reason.OVERSIZED:
                assert letter.value == sent.value, str(sent)


def test_what_is_too_large_for_a_message_is_kept_in_part_in_a_letter_that_is_one(
    ended: list[tuple[BadInput, Products]],
) -> None:
    oversized = [(sent, products) for sent, products in ended if sent.reason is Reason.OVERSIZED]
    assert len(oversized) == 3
    for sent, products in oversized:
        (message,) = products.messages
        assert message.value is not None
        assert len(message.value) + len(message.key or b"") < MAX_MESSAGE_BYTES - 1024
        letter = codec.decode(DeadLetter, message.value)
        assert sent.value.startswith(letter.value)
        assert f"of {len(sent.value)} bytes are kept" in letter.detail


def test_no_detail_of_a_dead_letter_names_its_patient(ended: list[tuple[BadInput, Products]]) -> None:
    letters = [m for _, products in ended for m in products.messages if m.topic is Topic.DEAD_LETTER]
    details = [codec.decode(DeadLetter, m.value).detail for m in letters]
    assert len(details) > 30
    assert not [detail for detail in details for sent in INPUTS if sent.key.decode() in detail]


def test_every_event_ends_in_exactly_one_outcome(ended: list[tuple[BadInput, Products]]) -> None:
    for topic in (Topic.ECG, Topic.GLUCOSE, Topic.IMAGING):
        mine = [products for sent, products in ended if sent.topic is topic]
        refused: Counter[Reason] = sum((p.refused for p in mine), Counter())
        waiting = next((p.waiting for p in reversed(mine) if p.waiting is not None), 0)
        assert sum(p.scored for p in mine) + waiting + refused.total() == len(mine), topic


def test_together_in_one_batch_they_end_as_they_do_alone(ended: list[tuple[BadInput, Products]]) -> None:
    for topic, half in _halves().items():
        mine = [(i, sent) for i, sent in enumerate(INPUTS) if sent.topic is topic]
        by_partition: dict[int, list[Record]] = {}
        for i, sent in mine:
            record = _record(sent, i)
            by_partition.setdefault(record.partition, []).append(record)
        refused: Counter[Reason] = Counter()
        for records in by_partition.values():
            refused += half.process(records, Owners(interval_us=4_000_000)).refused
        alone: Counter[Reason] = sum((p.refused for sent, p in ended if sent.topic is topic), Counter())
        assert refused == alone, topic
