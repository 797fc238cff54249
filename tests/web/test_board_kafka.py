"""The board on real topics: what it shows, how it stands after a restart, what it writes."""

from __future__ import annotations

import asyncio
import json
import struct
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from zlib import crc32

import pytest
from aiohttp import ClientSession, WSMsgType
from kafka import KafkaProducer

from stream.topics import PARTITIONS, Topic
from tests.support.boardhost import BoardHost
from tests.support.playedward import PlayedWard, playing, simulated_beds
from tests.support.topics import read_all
from vitals import codec
from vitals.clock import SystemClock
from vitals.events import Command, GateVerdict, Label
from vitals.findings import Task, Verdict
from vitals.units import US_PER_S

pytestmark = pytest.mark.broker

_DEADLINE_S = 20.0


@contextmanager
def played_until_now(kafka: str, beds: int, seconds: int) -> Iterator[PlayedWard]:
    """A ward whose last ``seconds`` are on the topics."""
    with closing(
        PlayedWard(kafka, simulated_beds(beds), start_us=SystemClock().now_us() - seconds * US_PER_S)
    ) as played:
        for _ in range(seconds):
            played.play_second()
        yield played


def snapshot(host: BoardHost, query: str = "size=64") -> dict[str, Any]:
    with urllib.request.urlopen(f"{host.url}/api/ward?{query}", timeout=5) as answer:
        return json.load(answer)


def wait_for(host: BoardHost, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    end = time.monotonic() + _DEADLINE_S
    while not condition(shown := snapshot(host)):
        assert time.monotonic() < end, f"still not so: {shown['ward']}"
        time.sleep(0.05)
    return shown


def post(host: BoardHost, action: str, **body: object) -> int:
    said = {"who": "N. Okafor", "role": "nurse"} | body
    request = urllib.request.Request(
        f"{host.url}/api/{action}", json.dumps(said).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=15) as answer:
        return answer.status


def is_whole(shown: dict[str, Any]) -> bool:
    beds = shown["beds"]
    return len(beds) == 5 and all(bed.get("ecg") and bed.get("risk") for bed in beds) and bool(beds[0].get("glucose"))


def test_a_board_that_starts_late_stands_at_once_and_a_second_one_shows_the_same(kafka_topics: str) -> None:
    with played_until_now(kafka_topics, 5, 15) as played:
        hour_ago_us = SystemClock().now_us() - 3600 * US_PER_S
        for minutes in range(0, 60, 5):
            played.play_glucose(played.beds[0], 52.0, hour_ago_us + minutes * 60 * US_PER_S)
        played.play_image(played.beds[1], Task.PNEUMONIA, 0.93, hour_ago_us)
        played.play_second()
        first = _standing(kafka_topics)
        again = _standing(kafka_topics)
    beds = {bed["bed"]: bed for bed in first["beds"]}
    assert beds["bed-01"]["glucose"]["mgDl"] == 52.0
    assert len(beds["bed-01"]["glucose"]["readings"]) == 12
    assert beds["bed-01"]["alarms"][0]["condition"] == "glucose-very-low"
    assert beds["bed-02"]["images"][0]["p"] == 0.93
    assert 60 < beds["bed-03"]["ecg"]["heartRate"] < 75
    for one, other in zip(_without_keys(first), _without_keys(again), strict=True):
        assert {name: value for name, value in one.items() if value != other[name]} == {}


def _without_keys(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """A bed's key, here and in its alarms, is its place in one board's memory: the order its partition was read in."""
    beds = [{name: value for name, value in bed.items() if name != "key"} for bed in shown["beds"]]
    for bed in beds:
        bed["alarms"] = [{k: v for k, v in alarm.items() if k != "key"} for alarm in bed["alarms"]]
    return beds


def _standing(kafka: str) -> dict[str, Any]:
    began = time.monotonic()
    with BoardHost(kafka) as host:
        wait_for(host, is_whole)
        # the alerts are a topic of their own
        shown = wait_for(host, lambda shown: all(feed["state"] in {"live", "done"} for feed in shown["ward"]["feeds"]))
        assert time.monotonic() - began < 10
        return shown


def test_an_acknowledgement_is_a_command_on_the_patients_partition_and_comes_back_as_a_transition(
    kafka_topics: str,
) -> None:
    with played_until_now(kafka_topics, 3, 2) as played, BoardHost(kafka_topics) as host:
        played.play_glucose(played.beds[1], 45.0, SystemClock().now_us())
        played.play_second()
        (alarm,) = wait_for(host, lambda shown: shown["ward"]["alarms"])["ward"]["alarms"]
        assert (alarm["bed"], alarm["signal"], alarm["value"]) == ("bed-02", "on", 45.0)
        about = {"bed": alarm["bed"], "alertId": alarm["alertId"], "condition": alarm["condition"]}
        assert post(host, "acknowledge", **about, reason="juice given") == 202
        (record,) = read_all(kafka_topics, Topic.COMMANDS)
        command = codec.decode(Command, record.value)
        assert (command.patient, command.action, command.alert_id) == ("bed-02", "acknowledge", alarm["alertId"])
        assert (command.who, command.role, command.reason) == ("N. Okafor", "nurse", "juice given")
        assert abs(command.when_us - SystemClock().now_us()) < 20 * US_PER_S
        assert record.partition == crc32(b"bed-02") % PARTITIONS
        assert snapshot(host)["ward"]["alarms"][0]["signal"] == "on", "not before the alarm service says so"
        played.obey()
        (alarm,) = wait_for(host, lambda shown: shown["ward"]["counts"]["acknowledged"])["ward"]["alarms"]
        assert (alarm["signal"], alarm["who"]) == ("acknowledged", "N. Okafor")


def test_a_pause_and_a_judgement_reach_their_topics(kafka_topics: str) -> None:
    with played_until_now(kafka_topics, 2, 2) as played, BoardHost(kafka_topics) as host:
        played.play_glucose(played.beds[0], 45.0, SystemClock().now_us())
        played.play_second()
        (alarm,) = wait_for(host, lambda shown: shown["ward"]["alarms"])["ward"]["alarms"]
        assert post(host, "pause", bed="bed-01", seconds=60) == 202
        played.obey()
        shown = wait_for(host, lambda shown: shown["ward"]["counts"]["paused"])
        assert shown["beds"][0]["pausedUntilUs"] > shown["nowUs"]
        about = {"alertId": alarm["alertId"], "condition": alarm["condition"], "onsetUs": alarm["onsetUs"]}
        assert post(host, "judge", bed="bed-01", value="false", **about) == 202
        (record,) = read_all(kafka_topics, Topic.LABELS)
        label = codec.decode(Label, record.value)
        assert (label.alert_id, label.value, label.who) == (alarm["alertId"], "false", "N. Okafor (nurse)")


def test_traces_come_for_the_beds_on_the_page_and_nobody_else(kafka_topics: str) -> None:
    async def keys_and_beds(url: str) -> tuple[dict[str, int], set[int]]:
        keys: dict[str, int] = {}
        traced: set[int] = set()
        async with ClientSession() as session, session.ws_connect(f"{url}/live") as live:
            await live.send_str('{"type": "view", "size": 4, "page": 1}')
            async with asyncio.timeout(_DEADLINE_S):
                async for message in live:
                    if message.type is WSMsgType.TEXT:
                        frame = json.loads(message.data)
                        if frame["type"] == "ward" and frame["page"] == 1:
                            keys, traced = {}, set()
                        keys |= {bed["bed"]: bed["key"] for bed in frame.get("beds", [])}
                    else:
                        traced |= _keys_in(message.data)
                    if len(traced) >= 4 and len(keys) >= 4:
                        break
        return keys, traced

    with playing(PlayedWard(kafka_topics, simulated_beds(12))), BoardHost(kafka_topics) as host:
        wait_for(host, lambda shown: len(shown["beds"]) == 12)
        assert host.board.traces.on_view() == {}, "nobody looks, nothing is read"
        keys, traced = asyncio.run(keys_and_beds(host.url))
    assert traced == {keys[f"bed-{i:02}"] for i in range(5, 9)}


def _keys_in(packed: bytes) -> set[int]:
    found, at_byte = set(), 8
    while at_byte < len(packed):
        key, n = struct.unpack_from("<I20xI", packed, at_byte)
        found.add(key)
        at_byte += 40 + (2 * n + 7) // 8 * 8
    return found


def test_what_the_gate_said_stands_on_a_board_that_starts_later(kafka_topics: str) -> None:
    said = GateVerdict(
        task="breast", when_us=1, why="60 new labels", bundle="", champion="b", refused=["sees the disease: auroc 0.4"]
    )
    with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
        producer.send(Topic.GATE.value, codec.encode(said), key=b"breast").get(10)
    with BoardHost(kafka_topics) as host:
        shown = wait_for(host, lambda shown: shown["ward"]["gate"])
    assert [(one["task"], one["refused"]) for one in shown["ward"]["gate"]] == [
        ("breast", ["sees the disease: auroc 0.4"])
    ]


def test_records_that_cannot_be_read_are_counted_and_harm_nothing(kafka_topics: str) -> None:
    with played_until_now(kafka_topics, 2, 3) as played, BoardHost(kafka_topics) as host:
        with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
            for topic in (Topic.FINDINGS, Topic.RISK, Topic.ALERTS):
                for value in (b"", b"\xc1", b"{}", b"\xff" * 1000):
                    producer.send(topic.value, value, partition=1)
        played.beds[0].verdict = Verdict.LEAD_OFF
        played.play_second()
        shown = wait_for(
            host, lambda shown: any(bed["ecg"] and bed["ecg"]["verdict"] == "lead-off" for bed in shown["beds"])
        )
        assert shown["beds"][0]["ecg"]["heartRate"] is None
        wait_for(host, lambda shown: {f["name"]: f["refused"] for f in shown["ward"]["feeds"]}.get("alerts") == 4)
        wait_for(host, lambda shown: {f["name"]: f["refused"] for f in shown["ward"]["feeds"]}.get("findings") == 4)
