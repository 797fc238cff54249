"""The usual way to write such a service: one Faust agent, one event, one window, one inference, one send.

Same windows, same network, same findings. ENGINE says who runs the network: torch (as it was trained) or onnx.

    KAFKA=… ENGINE=torch python -m bench.peers.usual_faust worker
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any
from zlib import crc32

import faust
import numpy as np

from bench.peers.service import Infer, Service, bundle, kafka, onnx
from models.registry import Bundle
from stream.topics import PARTITIONS

_RAW = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}


def torch(net: Bundle) -> Infer:
    """The network in torch, eager, one thread."""
    import torch  # noqa: PLC0415  the other way needs none of it

    from models.engines.torch_reference import network_of  # noqa: PLC0415

    torch.set_num_threads(1)
    network = network_of(net)

    def infer(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(inputs["ecg_mv"]), torch.from_numpy(inputs["context"])).numpy()

    return infer


net = bundle()
service = Service((torch if os.environ["ENGINE"] == "torch" else onnx)(net), net, os.environ["ENGINE"])
app = faust.App(
    "usual",
    broker=f"kafka://{kafka()}",
    datadir=os.environ["STATE"],
    web_enabled=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
    consumer_auto_offset_reset="earliest",
)
chunks = app.topic("ecg.v1", **_RAW)
findings = app.topic("findings.v1", **_RAW)


@app.agent(chunks)
async def watch(stream: Any) -> AsyncIterator[None]:
    async for event in stream.events():
        patient, found = service.of_event(event.value, int(event.message.timestamp * 1000))
        key = patient.encode()
        if found is not None:
            await findings.send(key=key, value=found, partition=crc32(key) % PARTITIONS)
        yield


if __name__ == "__main__":
    faust.Worker(app, loglevel="warning").execute_from_commandline()
