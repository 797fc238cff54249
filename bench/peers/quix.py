"""Quix Streams. LOAD=each: one message a patient, by ``apply``, as its stream is; LOAD=bundles: a bundle is its batch.

KAFKA=… LOAD=… STATE=… python -m bench.peers.quix
"""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application, State
from quixstreams.models import SerializationContext, Serializer

from bench.peers.service import Service, bundle, kafka, onnx

net = bundle()
service = Service(onnx(net), net, "onnx-cpu")
known: set[bytes] = set()


class Encoded(Serializer):
    """The second of a pair of patient and value: ``to_topic`` takes the key from the value."""

    def __call__(self, value: Any, ctx: SerializationContext) -> bytes:
        encoded: bytes = value[1]
        return encoded


def of_event(value: bytes, key: Any, timestamp_ms: int, headers: Any) -> list[tuple[str, bytes]]:
    patient, found = service.of_event(value, timestamp_ms)
    return [] if found is None else [(patient, found)]


def of_bundle(value: bytes, key: Any, timestamp_ms: int, headers: Any) -> list[tuple[str, bytes]]:
    return [(patient, one) for _, patient, one in service.of_batch([value], [timestamp_ms])]


def of_kept_bundle(value: bytes, key: bytes, timestamp_ms: int, headers: Any, state: State) -> list[tuple[str, bytes]]:
    if key not in known:
        known.add(key)
        if (saved := state.get_bytes("windows")) is not None:
            service.take_back(saved)
    found = of_bundle(value, key, timestamp_ms, headers)
    state.set_bytes("windows", service.saved(key.decode()))
    return found


def main() -> None:
    load = os.environ["LOAD"]
    app = Application(
        kafka(),
        consumer_group="quix",
        auto_offset_reset="earliest",
        auto_create_topics=load == "kept",
        **({"commit_interval": float(os.environ["CHECKPOINT_S"])} if load == "kept" else {}),
        state_dir=os.environ["STATE"],
        loglevel="WARNING",
        producer_extra_config={"partitioner": "consistent", "message.max.bytes": 4 << 20},
    )
    chunks = app.topic("ecg.v1", key_deserializer="bytes", value_deserializer="bytes")
    findings = app.topic("findings.v1", key_serializer="str", value_serializer=Encoded())
    frame = app.dataframe(chunks)
    if load == "kept":
        frame = frame.apply(of_kept_bundle, stateful=True, metadata=True, expand=True)
    else:
        frame = frame.apply(of_bundle if load == "bundles" else of_event, metadata=True, expand=True)
    frame.to_topic(findings, key=lambda pair: pair[0])
    app.run()


if __name__ == "__main__":
    main()
