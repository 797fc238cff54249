"""A Kafka of our own for the demo and the tests: Apache Kafka itself, one KRaft node, on free ports of this machine.

open_broker(kafka)   the broker to use: the one named, else a Java node, else a Docker node; topics are there
JavaNode             jars by Maven, data in a folder that goes when the node closes; can be frozen, killed, restarted
DockerNode           the ``apache/kafka`` image, for machines with Docker and no Java
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Final, Protocol, Self

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from stream import children
from stream.brokerjars import KAFKA_VERSION, cache_folder, jars_present, resolve_jars
from stream.topics import CATALOGUE, MAX_MESSAGE_BYTES, PARTITIONS
from vitals.errors import Fault

_HOST: Final = "127.0.0.1"
_START_DEADLINE_S: Final = 60.0
_NAMED_DEADLINE_S: Final = 15.0
_STOP_GRACE_S: Final = 5.0
_MAX_RECORD_BYTES: Final = MAX_MESSAGE_BYTES + 64 * 1024
"""A batch carries its header, keys and record headers beside the value."""
_JAVA_MIN: Final = 17

_LOG4J: Final = """rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = STDOUT
appender.stdout.type = Console
appender.stdout.name = STDOUT
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d %p %m (%c)%n
"""

INSTALL_HINT: Final = (
    "No Kafka can be started here: install Java 17+ and Maven (Debian: apt-get install default-jre-headless maven), "
    "or start Docker, or name a running broker with KAFKA=host:port."
)


def node_settings(broker_port: int, controller_port: int, *, bind: str, log_dir: str) -> dict[str, str]:
    """The settings of a single combined node, by their names in ``server.properties``."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{_HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{bind}:{broker_port},CONTROLLER://{_HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{_HOST}:{broker_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": log_dir,
        # one node: nothing to replicate, nobody to wait for
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": str(PARTITIONS),
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # after a SIGKILL the node's own controller waits this long (9 s is stock) before it lets the node back in
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "1000",
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(_MAX_RECORD_BYTES),
        "replica.fetch.max.bytes": str(_MAX_RECORD_BYTES),
        # a demo that is forgotten over a weekend must not fill the disk
        "log.segment.bytes": str(64 * 1024 * 1024),
        "log.retention.bytes": str(256 * 1024 * 1024),
        "log.retention.check.interval.ms": "60000",
    }


class Node(Protocol):
    """A broker that we started."""

    bootstrap: str

    def start(self) -> None: ...

    def close(self) -> None: ...


class JavaNode:
    """Apache Kafka from its jars. ``start`` and ``close`` belong to the main thread (see ``stream.children``).

    Fault tests use ``freeze``/``thaw`` (SIGSTOP/SIGCONT), ``kill`` (SIGKILL) and ``start``: same ports, same data.
    """

    def __init__(self, cache: Path) -> None:
        self._jars = resolve_jars(cache)
        self.run_folder = Path(tempfile.mkdtemp(prefix="wardwatch-kafka-"))
        self._ports = free_ports(2)
        self.bootstrap = f"{_HOST}:{self._ports[0]}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running node. Raises ``Fault`` when there is none."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the node and waits until it answers. Raises ``Fault`` with the end of its log when it does not."""
        if self.is_running:
            return
        if not (self.run_folder / "data").exists():
            self._format()
        with (self.run_folder / "broker.log").open("ab") as log:
            self._process = children.start(self._java("kafka.Kafka", str(self._properties)), output=log)
        try:
            _wait_until_it_answers(self.bootstrap, self._process)
        except Fault as fault:
            raise Fault(f"{fault}; its log ends: {self._log_tail()}") from None

    def freeze(self) -> None:
        """Stops the process in its tracks; connections stay open and nothing answers."""
        self._running().send_signal(SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen node go on."""
        self._running().send_signal(SIGCONT)

    def kill(self) -> None:
        """SIGKILL: what was not on disk is lost. ``start`` brings it back."""
        process = self._running()
        process.send_signal(SIGKILL)
        process.wait()

    def close(self) -> None:
        """Ends the node and removes its data."""
        if self._process is not None:
            children.stop(self._process, _STOP_GRACE_S)
            self._process = None
        shutil.rmtree(self.run_folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _properties(self) -> Path:
        return self.run_folder / "server.properties"

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise Fault("the broker is not running")
        return self._process

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        # for a node of minutes the second compiler never pays: without it Kafka is there two seconds sooner
        options = ["-Xmx1g", "-Xms256m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:TieredStopAtLevel=1"]
        log4j = f"-Dlog4j2.configurationFile={self.run_folder / 'log4j2.properties'}"
        return ["java", *options, log4j, "-cp", f"{self._jars}/*", main_class, *arguments]

    def _format(self) -> None:
        settings = node_settings(*self._ports, bind=_HOST, log_dir=str(self.run_folder / "data"))
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        (self.run_folder / "log4j2.properties").write_text(_LOG4J)
        cluster = uuid.uuid4().hex[:22]
        tool = self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties))
        done = subprocess.run(tool, check=False, capture_output=True, text=True, timeout=_START_DEADLINE_S)
        if done.returncode != 0:
            raise Fault(f"Kafka could not format its storage: {(done.stdout + done.stderr).strip()[-300:]}")

    def _log_tail(self) -> str:
        with suppress(OSError):
            return (self.run_folder / "broker.log").read_text(errors="replace").strip()[-500:]
        return "(no log)"


class DockerNode:
    """Apache Kafka from its image. Its shell reads our standard input: when we are gone, so is the container."""

    def __init__(self) -> None:
        self._port, self._controller_port = free_ports(2)
        self.bootstrap = f"{_HOST}:{self._port}"
        self._name = f"wardwatch-kafka-{uuid.uuid4().hex[:8]}"
        self._process: subprocess.Popen[bytes] | None = None

    def argv(self) -> list[str]:
        """The command line of the container."""
        settings = node_settings(
            self._port,
            self._controller_port,
            bind="0.0.0.0",  # noqa: S104  of the container; it is published on our own loopback only
            log_dir="/tmp/kraft-combined-logs",  # noqa: S108
        )
        environment = [f"--env=KAFKA_{name.upper().replace('.', '_')}={value}" for name, value in settings.items()]
        tied_to_us = "/etc/kafka/docker/run & kafka=$!; cat >/dev/null; kill $kafka; wait $kafka"
        published = f"--publish={_HOST}:{self._port}:{self._port}"
        container = ["docker", "run", "--rm", "--interactive", f"--name={self._name}", published, *environment]
        return [*container, f"apache/kafka:{KAFKA_VERSION}", "sh", "-c", tied_to_us]

    def start(self) -> None:
        """Starts the container (the image is pulled at the first call) and waits until it answers."""
        _show(f"Starting the image apache/kafka:{KAFKA_VERSION} (pulled once)\n")
        self._process = subprocess.Popen(
            self.argv(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )
        _wait_until_it_answers(self.bootstrap, self._process, deadline_s=10 * _START_DEADLINE_S)

    def close(self) -> None:
        """Ends the container; its data goes with it."""
        if self._process is not None:
            assert self._process.stdin is not None  # noqa: S101  asked for above
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2 * _STOP_GRACE_S)
            if self._process.poll() is None:
                subprocess.run(["docker", "kill", self._name], check=False, capture_output=True)
                self._process.wait()
            self._process = None


def free_ports(count: int) -> list[int]:
    """``count`` different TCP ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((_HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def choose_node(cache: Path) -> Node:
    """The kind of node this machine can run, not started. Raises ``Fault`` with what to install when there is none."""
    if _java_major() >= _JAVA_MIN and (jars_present(cache) or shutil.which("mvn")):
        return JavaNode(cache)
    if _docker_answers():
        return DockerNode()
    raise Fault(INSTALL_HINT)


@contextmanager
def open_broker(kafka: str | None) -> Iterator[str]:
    """The address of a broker that answers and has all topics: ``kafka`` itself, or one started for the block.

    Raises ``Fault`` when ``kafka`` does not answer or nothing can be started.
    """
    if kafka is not None:
        _wait_until_it_answers(kafka, None, deadline_s=_NAMED_DEADLINE_S)
        create_topics(kafka)
        yield kafka
        return
    node = choose_node(cache_folder())
    try:
        node.start()
        create_topics(node.bootstrap)
        yield node.bootstrap
    finally:
        node.close()


def create_topics(bootstrap: str) -> None:
    """Creates the topics of the catalogue that are not there. Raises ``Fault`` when one has other partitions."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        there = set(admin.list_topics())
        missing = [
            NewTopic(
                name=topic.value,
                num_partitions=PARTITIONS,
                replication_factor=-1,  # the broker's default
                topic_configs={"max.message.bytes": str(_MAX_RECORD_BYTES), **spec.config},
            )
            for topic, spec in CATALOGUE.items()
            if topic.value not in there
        ]
        if missing:
            with suppress(TopicAlreadyExistsError):
                admin.create_topics(missing, wait_for_metadata=True)
        described = admin.describe_topics([topic.value for topic in CATALOGUE])
        with suppress(KafkaError):
            # Kafka makes its own topic of offsets when first asked for a group: then the first worker need not wait
            admin.list_group_offsets("nobody")
    other = [t["name"] for t in described if len(t["partitions"]) != PARTITIONS]
    if other:
        raise Fault(f"{', '.join(other)}: the topic is there with other than {PARTITIONS} partitions")


def serve() -> None:
    """``python -m stream broker``: a broker with all topics until Ctrl-C; its address is the one line on stdout."""
    with children.signals_as_interrupt() as ending, suppress(KeyboardInterrupt), open_broker(None) as bootstrap:
        sys.stdout.write(f"{bootstrap}\n")
        sys.stdout.flush()
        ending.wait()


def _wait_until_it_answers(
    bootstrap: str, process: subprocess.Popen[bytes] | None, deadline_s: float = _START_DEADLINE_S
) -> None:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            raise Fault(f"the broker ended with status {process.returncode} before it answered")
        if _answers(bootstrap):
            return
        time.sleep(0.1)
    raise Fault(f"no Kafka broker answers at {bootstrap}")


def _answers(bootstrap: str) -> bool:
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2.0).close()
        with closing(KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=2000)) as admin:
            return bool(admin.describe_cluster()["brokers"])
    except (OSError, ValueError, KafkaError):
        return False


def _java_major() -> int:
    """Major version of the ``java`` on the path, 0 without one."""
    if not shutil.which("java"):
        return 0
    said = subprocess.run(["java", "-version"], check=False, capture_output=True, text=True).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


def _docker_answers() -> bool:
    if not shutil.which("docker"):
        return False
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(["docker", "version"], check=False, capture_output=True, timeout=10).returncode == 0
    return False


def _show(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
