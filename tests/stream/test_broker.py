"""The broker is Apache Kafka itself: it answers, it keeps what it confirmed, and it leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from stream.broker import INSTALL_HINT, DockerNode, JavaNode, choose_node, create_topics, free_ports, open_broker
from stream.brokerjars import cache_folder, resolve_jars
from stream.topics import CATALOGUE, MAX_MESSAGE_BYTES, PARTITIONS, Topic
from tests.support.topics import delete_all_topics, read_all
from vitals.errors import Fault

pytestmark = pytest.mark.broker


def _send(bootstrap: str, value: bytes) -> None:
    with closing(KafkaProducer(bootstrap_servers=bootstrap, max_request_size=2 * MAX_MESSAGE_BYTES)) as producer:
        producer.send(Topic.ECG, value, key=b"g", partition=3).get(timeout=30)


def test_every_topic_of_the_catalogue_is_there_with_its_partitions(kafka_topics: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=kafka_topics)) as admin:
        described = admin.describe_topics([topic.value for topic in CATALOGUE])
    assert {t["name"]: len(t["partitions"]) for t in described} == dict.fromkeys(map(str, CATALOGUE), PARTITIONS)


def test_creating_the_topics_twice_keeps_what_is_in_them(kafka_topics: str) -> None:
    _send(kafka_topics, b"kept")
    create_topics(kafka_topics)
    assert [r.value for r in read_all(kafka_topics, Topic.ECG)] == [b"kept"]


def test_a_message_of_the_greatest_size_goes_through(kafka_topics: str) -> None:
    _send(kafka_topics, bytes(MAX_MESSAGE_BYTES))
    assert [len(r.value) for r in read_all(kafka_topics, Topic.ECG)] == [MAX_MESSAGE_BYTES]


def test_a_topic_with_other_partitions_is_refused_by_name(broker: JavaNode) -> None:
    delete_all_topics(broker.bootstrap)
    with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
        admin.create_topics([NewTopic(Topic.RISK.value, 3, -1)], wait_for_metadata=True)
    with pytest.raises(Fault, match=r"risk\.v1: .* other than 8 partitions"):
        create_topics(broker.bootstrap)


def test_what_was_confirmed_is_there_after_kill_and_restart_on_the_same_ports(
    kafka_topics: str, broker: JavaNode
) -> None:
    _send(kafka_topics, b"before the kill")
    before = broker.pid
    broker.kill()
    broker.start()
    assert broker.pid != before
    assert [r.value for r in read_all(kafka_topics, Topic.ECG)] == [b"before the kill"]


def test_a_frozen_broker_answers_nothing_until_it_is_thawed(kafka_topics: str, broker: JavaNode) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka_topics)) as producer:
        producer.send(Topic.ECG, b"warm", partition=0).get(timeout=30)
        broker.freeze()
        try:
            waiting = producer.send(Topic.ECG, b"into the ice", partition=0)
            producer_saw_nothing = not waiting.succeeded()
        finally:
            broker.thaw()
        waiting.get(timeout=30)
    assert producer_saw_nothing
    assert [r.value for r in read_all(kafka_topics, Topic.ECG)] == [b"warm", b"into the ice"]


def test_a_named_broker_is_used_and_not_ended(broker: JavaNode) -> None:
    delete_all_topics(broker.bootstrap)
    with open_broker(broker.bootstrap) as bootstrap:
        assert bootstrap == broker.bootstrap
    assert broker.pid


def test_a_named_broker_that_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setattr("stream.broker._NAMED_DEADLINE_S", 0.3)
    with pytest.raises(Fault, match=f"no Kafka broker answers at 127.0.0.1:{port}"), open_broker(f"127.0.0.1:{port}"):
        pass


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_broker_goes_with_the_process_that_started_it(ending: signal.Signals, tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", "from stream.broker import serve; serve()"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert owner.stdout is not None
    assert owner.stdout.readline().startswith("127.0.0.1:")
    (folder,) = tmp_path.glob("wardwatch-kafka-*")
    assert _processes_with(str(folder))
    owner.send_signal(ending)
    owner.wait(30)
    owner.stdout.close()
    end = time.monotonic() + 10
    while _processes_with(str(folder)):
        assert time.monotonic() < end, "a Kafka is left running"
    if ending is not signal.SIGKILL:
        assert owner.returncode == 0
        assert not folder.exists()


def _processes_with(text: str) -> list[str]:
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in cmdline.read_bytes():
                found.append(cmdline.parent.name)
        except OSError:
            continue
    return found


def test_the_second_resolution_of_the_jars_needs_no_maven(broker: JavaNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert any(resolve_jars(cache_folder()).glob("kafka_2.13-*.jar"))


def test_with_neither_java_nor_docker_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Fault) as refused:
        choose_node(tmp_path)
    assert str(refused.value) == INSTALL_HINT
    assert "\n" not in INSTALL_HINT


def test_without_java_a_docker_that_answers_gives_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sh = shutil.which("sh")
    engine = tmp_path / "docker"
    engine.write_text(f"#!{sh}\nexit 0\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    node = choose_node(tmp_path)
    assert isinstance(node, DockerNode)
    argv = node.argv()
    assert "apache/kafka:4.1.0" in argv
    assert f"--env=KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://{node.bootstrap}" in argv
    engine.write_text(f"#!{sh}\nexit 1\n")
    with pytest.raises(Fault):
        choose_node(tmp_path)
