"""The monitors of the self-test: one patient for each partition, whose heart races for half of every minute.

The fast half is an alarm of its own (``vitals.selftest.CONDITION``), raised and over once a minute. A patient of
partition *p* is keyed so that its ECG lies on partition *p* of ``ecg.v1`` and its findings on the same of
``findings.v1``: what watches that partition is what is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final
from zlib import crc32

from stream.gateways import wfdb
from stream.gateways.schedule import Due, Pace
from stream.topics import PARTITIONS
from vitals import simulate
from vitals.selftest import PREFIX

PERIOD_S: Final = 60.0
_RATE_HZ: Final = 250.0
_SCRIPT: Final = (
    simulate.Stretch(simulate.Rhythm.SINUS, PERIOD_S / 2, 75.0),
    simulate.Stretch(simulate.Rhythm.SINUS, PERIOD_S / 2, 130.0),
)


def patients() -> list[str]:
    """Names, by partition."""
    return [
        next(name for n in count() if crc32((name := f"{PREFIX}{partition}.{n}").encode()) % PARTITIONS == partition)
        for partition in range(PARTITIONS)
    ]


def recording() -> wfdb.Recording:
    """The minute that each of them lives over and over."""
    played = simulate.ecg(0, _SCRIPT, _RATE_HZ)
    return wfdb.Recording("self-test", _RATE_HZ, ("II", "V1"), played.gain_uv, played.samples)


def schedules(pace: Pace) -> list[Iterator[Due]]:
    """What they all send, one message a second each, for ever."""
    played = recording()
    return [wfdb.bundles(patient, [wfdb.Bed(patient, played)], pace, repeat=True) for patient in patients()]
