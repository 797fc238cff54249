"""The usual way to write such a service: one Faust agent, one event, one window, one inference, one send.

Same model, same signal path, same findings as Wardwatch. What differs is that everything happens event by event.
Run as ``python -m bench.peers.usual_faust``; KAFKA and REGISTRY come from the environment.
"""

from __future__ import annotations

import os
from pathlib import Path

import faust
import numpy as np

from models.registry import Registry
from stream.ingest import ecg_chunks
from stream.modelslot import begin_serving, open_slots
from stream.scoring import Scorer, beat_windows, rhythm_windows
from vitals import codec
from vitals.events import Record
from vitals.findings import FindingBatch, Task, nullable
from vitals.windows.ecg import EcgWindows

GROUP = "usual"

app = faust.App(
    GROUP,
    broker=f"kafka://{os.environ['KAFKA']}",
    web_enabled=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
    consumer_auto_offset_reset="earliest",
    datadir=str(Path(os.environ["REGISTRY"]) / "faust"),
)
raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
chunks_in = app.topic("ecg.v1", **raw)
findings_out = app.topic("findings.v1", **raw)

slots = open_slots(lambda news: None)
begin_serving(Registry(Path(os.environ["REGISTRY"])), slots)
scorer = Scorer(slots, archive_share=0.0)
windows = EcgWindows()
rows: dict[str, np.ndarray] = {}


@app.agent(chunks_in)
async def watch(stream):  # type: ignore[no-untyped-def]
    async for event in stream.events():
        message = event.message
        record = Record(
            "ecg.v1", message.partition, message.offset, int(message.timestamp * 1000), event.key, event.value
        )
        chunks, _ = ecg_chunks(record, 2**61)
        if chunks is None:
            continue
        patient = chunks.patients[0]
        if patient not in rows:
            rows[patient] = windows.add(1)
        step = windows.advance(
            rows[patient],
            chunks.start_us,
            chunks.rate_hz,
            chunks.n_leads,
            chunks.gain_uv,
            chunks.n_samples,
            chunks.samples,
        )
        arrived = np.array([record.timestamp_ms], np.int64)
        for cut in (beat_windows(step.beats, arrived), rhythm_windows(step.rhythm, arrived)):
            table = scorer.table(cut) if len(cut.row) else None
            for i in range(len(cut.row)):
                finding = FindingBatch(
                    task=Task(cut.task),
                    spec=cut.spec,
                    model=table.model,
                    engine=table.engine,
                    patients=[patient],
                    row=[0],
                    end_us=[int(cut.end_us[i])],
                    known_us=[int(cut.known_us[i])],
                    input_ms=[int(cut.input_ms[i])],
                    verdict=[int(cut.verdict[i])],
                    columns=list(table.columns),
                    values=[nullable(column[i : i + 1]) for column in table.columns.values()],
                )
                await findings_out.send(key=patient.encode(), value=codec.encode(finding))


if __name__ == "__main__":
    faust.Worker(app, loglevel="warning").execute_from_commandline()
