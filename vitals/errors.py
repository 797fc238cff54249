"""Everything that can go wrong with data, and what then happens to it.

    WardwatchError
    ├── Unusable(reason, detail)   the record or a part of it can never be used
    └── Fault                      our own plumbing failed; the worker stops and the record is read again

A ``Reason`` has one ``Fate``: it is decided here, once, and nowhere else. The text of a reason is what a metric label,
a dead-letter envelope and the documentation say. An error never carries a patient id or a sample value.
"""

from __future__ import annotations

import enum


class Fate(enum.StrEnum):
    """What happens to the thing that went wrong."""

    DROP = "drop"  # counted; nobody could do anything with it
    DEAD_LETTER = "dead-letter"  # counted and kept, because a person can act on it
    RETRY = "retry"  # tried again a bounded number of times
    STOP = "stop"  # the worker ends, unacknowledged records are read again


class Reason(enum.StrEnum):
    """Why an event ended without a score. The closed set of the service."""

    fate: Fate
    meaning: str

    def __new__(cls, slug: str, fate: Fate, meaning: str) -> Reason:
        member = str.__new__(cls, slug)
        member._value_ = slug
        member.fate = fate
        member.meaning = meaning
        return member

    MALFORMED = "malformed", Fate.DEAD_LETTER, "the bytes are not MessagePack or JSON of the topic's schema"
    OVERSIZED = "oversized", Fate.DEAD_LETTER, "the message, or a count in it, is above its bound"
    SCHEMA_VERSION = "schema-version", Fate.DEAD_LETTER, "the schema version is not one this build reads"
    INCONSISTENT = (
        "inconsistent",
        Fate.DEAD_LETTER,
        "columns that do not fit each other or the samples",
    )
    IMPOSSIBLE_RATE = "impossible-rate", Fate.DEAD_LETTER, "a sampling rate outside 50 to 2000 Hz"
    IMPOSSIBLE_GAIN = "impossible-gain", Fate.DEAD_LETTER, "a gain that is not finite and positive, or absurd"
    IMPOSSIBLE_TIME = "impossible-time", Fate.DEAD_LETTER, "an event time before 2000 or after 2100"
    IMPOSSIBLE_NAME = "impossible-name", Fate.DEAD_LETTER, "a patient without a name, or with one above 200 characters"
    WRONG_UNIT = "wrong-unit", Fate.DEAD_LETTER, "a unit that is not the topic's"
    CLOCK_AHEAD = "clock-ahead", Fate.DEAD_LETTER, "an event time more than the allowance ahead of arrival"
    DUPLICATE = "duplicate", Fate.DROP, "the same event was taken before"
    TOO_LATE = "too-late", Fate.DROP, "older than what the patient's window has already passed"
    IMPLAUSIBLE = "implausible", Fate.DROP, "a value no living patient has (glucose outside 20 to 600 mg/dL)"
    SENSOR_CODE = "sensor-code", Fate.DROP, "a sensor error code in place of a reading"
    SENSOR_STATUS = (
        "sensor-status",
        Fate.DROP,
        "the glucose sensor itself says not to trust it (warming up, failed, over)",
    )
    NOT_FINITE = "not-finite", Fate.DROP, "NaN or infinity in place of a value"
    WINDOW_CUT = "window-cut", Fate.DROP, "a gap or a restart cut the window this event was waiting in"
    CAPACITY = "capacity", Fate.DROP, "more patients than the worker is set to carry"
    OVERLOAD = "overload", Fate.DROP, "a patient who is not watched while the worker carries more than it can"
    NO_MODEL = "no-model", Fate.DROP, "an image of a modality and body part that no model here reads"
    PIXELS_MISSING = "pixels-missing", Fate.DEAD_LETTER, "an image without pixel data"
    PIXELS_UNREADABLE = "pixels-unreadable", Fate.DEAD_LETTER, "pixel data that no decoder here can read"
    CHECKSUM = "checksum", Fate.DEAD_LETTER, "the fetched bytes do not have the stated SHA-256"
    REFUSED_COMMAND = (
        "refused-command",
        Fate.DEAD_LETTER,
        "a command without a name, for a patient or condition not here, or outside its bounds",
    )
    UNREACHABLE = "unreachable", Fate.DEAD_LETTER, "the image could not be fetched within its deadline"


class WardwatchError(Exception):
    """Root of our own errors."""


class Unusable(WardwatchError):
    """This datum will never be valid. ``reason`` decides its fate; ``detail`` must not identify a patient."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class Fault(WardwatchError):
    """Infrastructure failed (broker, disk, engine without a lower rung). Never swallowed: the worker stops."""
