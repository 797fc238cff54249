"""Bytewax. What its source hands over together is its batch: ``flat_map_batch``, for single messages and for bundles.

LOAD=kept: bundles, and the state of each gateway in Bytewax's recovery store as often as ours is saved. That takes its
``stateful_batch``, which hands over one gateway at a time.

KAFKA=… LOAD=each|bundles|kept STATE=… CHECKPOINT_S=… python -m bench.peers.bytewax_flow
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from bench.peers.service import Service, bundle, kafka, onnx

AT_ONCE = {"bundles": 4, "kept": 4, "each": 256}[os.environ["LOAD"]]
"""The best of 2, 4, 8, 16, 64 bundles; so many patients as four bundles hold."""

net = bundle()
service = Service(onnx(net), net, "onnx-cpu")
brokers = [kafka()]


def watch(messages: list[KafkaSourceMessage[bytes, bytes]]) -> Iterator[KafkaSinkMessage[bytes, bytes]]:
    values, times = [m.value for m in messages], [m.timestamp[1] for m in messages]
    for _, patient, value in service.of_batch(values, times):
        yield KafkaSinkMessage(patient.encode(), value)


class Gateway(StatefulBatchLogic[KafkaSourceMessage[bytes, bytes], KafkaSinkMessage[bytes, bytes], bytes]):
    """One gateway's patients."""

    def __init__(self, saved: bytes | None) -> None:
        self._name = ""
        if saved is not None:
            service.take_back(saved)

    def on_batch(self, values: list[KafkaSourceMessage[bytes, bytes]]) -> tuple[list[KafkaSinkMessage], bool]:
        self._name = values[0].key.decode()
        return list(watch(values)), StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes:
        return service.saved(self._name)


def main() -> None:
    kept = os.environ["LOAD"] == "kept"
    flow = Dataflow("watch")
    chunks = op.input("chunks", flow, KafkaSource(brokers, ["ecg.v1"], batch_size=AT_ONCE))
    if kept:
        keyed = op.key_on("gateway", chunks, lambda message: message.key.decode())
        found = op.key_rm("found", op.stateful_batch("watch", keyed, Gateway))
    else:
        found = op.flat_map_batch("watch", chunks, watch)
    sink = KafkaSink(brokers, "findings.v1", {"partitioner": "consistent", "message.max.bytes": str(4 << 20)})
    op.output("findings", found, sink)
    if not kept:
        cli_main(flow)
        return
    store = Path(os.environ["STATE"]) / "recovery"
    store.mkdir()
    init_db_dir(store, 1)
    every = timedelta(seconds=float(os.environ["CHECKPOINT_S"]))
    cli_main(flow, epoch_interval=every, recovery_config=RecoveryConfig(store))


if __name__ == "__main__":
    main()
