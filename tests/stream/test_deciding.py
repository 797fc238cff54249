"""The decide half over records: what people ask is done or refused, and written down either way."""

from __future__ import annotations

from collections.abc import Sequence

from stream.checkpoint import Owners
from stream.deciding import Decide
from stream.pipeline import Products
from stream.topics import Topic
from tests.support.stay import ANN, CALM_RHYTHM, at, batch, command, record
from vitals import codec
from vitals.audit import AuditEntry, verified
from vitals.events import Checkpoint, Command, Record, Wire
from vitals.findings import Task, Verdict
from vitals.unit import FACTORY


def written(topic: Topic, offset: int, seconds: float, event: Wire) -> Record:
    return Record(topic.value, 3, offset, at(seconds) // 1000, None, codec.encode(event))


def admitted() -> Decide:
    half = Decide()
    finding = record(batch(Task.ECG_RHYTHM, [(ANN, 0, CALM_RHYTHM, Verdict.GOOD)]))
    half.process([written(Topic.FINDINGS, 0, 0, finding)], Owners(0))
    return half


def ask(half: Decide, *commands: Command, first: int = 0) -> Products:
    records = [written(Topic.COMMANDS, first + k, 2 + k, said) for k, said in enumerate(commands)]
    return half.process(records, Owners(0))


def entries(products: Products) -> list[AuditEntry]:
    return [codec.decode(AuditEntry, m.value or b"") for m in products.messages if m.topic is Topic.AUDIT]


ASKED: Sequence[Command] = [
    command("limit", 1, condition="heart-rate-high", upper=130.0),
    command("limit", 2, condition="heart-rate-high", upper=130.0),
    command("limit", 3, condition="heart-rate-high", upper=500.0),
    command("pause", 4, role="other"),
]


def test_everything_people_ask_is_written_down_with_what_came_of_it() -> None:
    limited, again, outside, not_theirs = entries(ask(admitted(), *ASKED))
    assert (limited.outcome, limited.told) == ("done", ["Heart rate high: limit 130 /min, was 120"])
    assert (again.outcome, again.told) == ("unchanged", [])
    assert outside.outcome == not_theirs.outcome == "refused"
    assert "guard rails" in outside.told[0]
    assert "not for this role" in not_theirs.told[0]
    assert [e.command for e in (limited, again, outside, not_theirs)] == list(ASKED)
    assert [(e.partition, e.number, e.offset) for e in (limited, not_theirs)] == [(3, 1, 0), (3, 4, 3)]
    assert limited.rules == FACTORY.version
    assert list(verified([limited, again, outside, not_theirs])) == []


def test_the_chain_goes_on_after_a_restart_and_what_is_read_again_is_the_same() -> None:
    first = admitted()
    before = entries(ask(first, *ASKED[:2]))
    checkpoint = Checkpoint(
        owner="decide/3", partition=3, offsets={Topic.FINDINGS: 0}, state=first.snapshot("decide/3")
    )
    died = entries(ask(first, *ASKED[2:], first=2))
    second = Decide()
    second.restore(checkpoint)
    after = entries(ask(second, *ASKED[2:], first=2))
    assert died == after
    assert list(verified([*before, *died, *after])) == []
