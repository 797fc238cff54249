"""The limit: librdkafka in, the windows, ONNX Runtime in batches, librdkafka out. Nothing else is done for anyone.

KAFKA=… python -m bench.peers.limit
"""

from __future__ import annotations

from confluent_kafka import Consumer, Producer

from bench.peers.service import Service, bundle, kafka, onnx

AT_ONCE = 16


def main() -> None:
    net = bundle()
    service = Service(onnx(net), net, "onnx-cpu")
    consumer = Consumer({"bootstrap.servers": kafka(), "group.id": "limit", "auto.offset.reset": "earliest"})
    producer = Producer({"bootstrap.servers": kafka(), "message.max.bytes": 4 << 20})
    consumer.subscribe(["ecg.v1"])
    while True:
        messages = [message for message in consumer.consume(AT_ONCE, 0.1) if message.error() is None]
        if messages:
            values, times = [m.value() for m in messages], [m.timestamp()[1] for m in messages]
            for partition, _, value in service.of_batch(values, times):
                producer.produce("findings.v1", value, partition=partition)
        producer.poll(0)


if __name__ == "__main__":
    main()
