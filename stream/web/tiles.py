"""What the board tells a browser, as structs: one tile per bed in sections, the alarm list, the state of the ward.

JSON with camelCase names; times are microseconds since 1970. A section that has not changed is left out.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vitals.alerts import AlertTransition, Signal
from vitals.strips import Strip


class Shown(msgspec.Struct, frozen=True, rename="camel"):
    """Root of everything shown. ``endUs``: event time, ``arrivedUs``: the broker's; the older of the two is its age."""


class EcgShown(Shown, frozen=True):
    """Rhythm and beats. ``marks``: [R peak µs, AAMI class] of the latest beats that are not normal."""

    end_us: int
    arrived_us: int
    verdict: str
    heart_rate: float | None
    irregularity: float | None
    beat: str
    ventricular_per_min: int
    marks: list[tuple[int, str]]


class GlucoseShown(Shown, frozen=True):
    """``readings``: [µs, mg/dL], oldest first. ``forecast``: five quantiles (5, 25, 50, 75, 95 %) at 5 … 60 min."""

    end_us: int
    arrived_us: int
    verdict: str
    mg_dl: float | None
    trend_mg_dl_min: float | None
    readings: list[tuple[int, float]]
    forecast: list[list[float]] | None
    p_low: float | None
    """Greatest probability of a glucose below 70 mg/dL among the horizons."""
    p_high: float | None
    """Greatest probability of a glucose above 180 mg/dL among the horizons."""


class ImageShown(Shown, frozen=True):
    """Result of the last image of one kind; ``p`` is the probability of the finding that is looked for."""

    task: str
    end_us: int
    arrived_us: int
    verdict: str
    p: float | None


class PictureShown(Shown, frozen=True):
    """The square of an image that its model sees: ``grey`` is uint8[side, side].

    ``carried``: float[28][28], by how much hiding each place lowers the log-odds of ``p``, which ``model`` says. Both
    are None, and ``why`` says why, where it cannot be read or no model serves.
    """

    task: str
    end_us: int
    side: int = 0
    grey: bytes = b""
    model: str = ""
    p: float | None = None
    carried: list[list[float]] | None = None
    why: str = ""


class InputShown(Shown, frozen=True):
    """One input of a risk."""

    task: str
    state: str
    age_s: float | None
    says: float | None


class RiskShown(Shown, frozen=True):
    """Fused risk; ``p`` is None when it is withheld."""

    time_us: int
    arrived_us: int
    band: str
    horizon_min: int
    p: float | None
    lower: float | None
    upper: float | None
    inputs: list[InputShown]


class AlarmShown(Shown, frozen=True):
    """One alarm that is not over: present, or latched until a person has seen it."""

    alert_id: str
    step: int
    key: int
    bed: str
    condition: str
    priority: str
    kind: str
    signal: str
    presence: bool
    onset_us: int
    time_us: int
    text: str
    escalation: int
    until_us: int
    who: str
    role: str
    reason: str
    measure: str
    value: float | None
    limit: float | None
    unit: str
    snooze_max_s: float
    limit_bounds: tuple[float, float] | None
    """Inside which the limit of this bed may be moved; None when it cannot be."""


class BedShown(Shown, frozen=True):
    """One tile: the sections that are new to the viewer. ``key`` names the bed on this connection."""

    key: int
    bed: str
    ecg: EcgShown | UnsetType | None = UNSET
    glucose: GlucoseShown | UnsetType | None = UNSET
    images: list[ImageShown] | UnsetType = UNSET
    risk: RiskShown | UnsetType | None = UNSET
    alarms: list[AlarmShown] | UnsetType = UNSET
    paused_until_us: int | UnsetType = UNSET


class Counts(Shown, frozen=True):
    """Over the whole ward: signals nobody has answered by priority, the answered ones, beds whose ECG is overdue."""

    high: int
    medium: int
    low: int
    acknowledged: int
    paused: int
    silent: int


class FeedShown(Shown, frozen=True):
    """How one reader of topics is doing: reading-back, live, waiting or trouble."""

    name: str
    state: str
    refused: int


class EngineShown(Shown, frozen=True):
    """Which bundle and rung served last."""

    task: str
    engine: str
    model: str


class WardFrame(Shown, frozen=True, tag="ward", tag_field="type"):
    """Which beds are on the page, and what concerns all of them. ``alarms`` is the worst of ``alarmTotal``."""

    order: list[int]
    page: int
    pages: int
    matching: int
    total: int
    not_carried: int
    counts: Counts
    alarms: list[AlarmShown]
    alarm_total: int
    feeds: list[FeedShown]
    engines: list[EngineShown]


class BedsFrame(Shown, frozen=True, tag="beds", tag_field="type"):
    """What changed on the page. Sent at least once a second, empty if need be: it carries the time."""

    now_us: int
    beds: list[BedShown]


class Snapshot(Shown, frozen=True):
    """``GET /api/ward``."""

    now_us: int
    ward: WardFrame
    beds: list[BedShown]


class StretchShown(Shown, frozen=True):
    """An unbroken stretch of one monitor. ``samples``: int16[leads, n], little-endian, base64; -32768: not measured."""

    gateway: str
    start_us: int
    rate_hz: float
    gain_uv: float
    leads: list[str]
    samples: bytes


class StripShown(Shown, frozen=True):
    """The ECG around the moment ``timeUs`` at which an alarm was raised. ``missing``: why it is not whole."""

    time_us: int
    from_us: int
    to_us: int
    stretches: list[StretchShown]
    missing: list[str]


class PastAlarm(Shown, frozen=True):
    """One of ``GET /api/alarms?bed=BED``: an alarm of the bed that is over."""

    alert_id: str
    condition: str
    priority: str
    text: str
    onset_us: int


class AlarmFound(Shown, frozen=True):
    """``GET /api/alarm/ID``. ``isOpen``: somebody has still to deal with it; ``strip`` None: there is none (yet)."""

    alert_id: str
    bed: str
    is_open: bool
    condition: str
    priority: str
    text: str
    strip: StripShown | None


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag="view", tag_field="type"):
    """What a browser asks to see. ``hidden``: nobody can see it now, behind another window or tab."""

    page: int = 0
    size: int = 16
    order: str = "bed"
    find: str = ""
    hidden: bool = False


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="seen", tag_field="type"):
    """What a browser has shown since it last said so: alarm ids, each with its step."""

    shown: Annotated[list[tuple[Annotated[str, Meta(max_length=64)], int]], Meta(max_length=64)]


def past_alarm(alarm: AlertTransition) -> PastAlarm:
    """An alarm that is over, by its last step."""
    return PastAlarm(alarm.alert_id, alarm.condition or "", alarm.priority or "low", alarm.text, alarm.onset_us)


def alarm_found(alarm: AlertTransition | None, strip: Strip | None) -> AlarmFound | None:
    """What is known of one alarm: by its newest step, and by its strip, which outlives it."""
    known = strip if strip is not None else alarm
    if known is None:
        return None
    return AlarmFound(
        alert_id=known.alert_id,
        bed=known.patient,
        is_open=alarm is not None and alarm.signal is not Signal.OFF,
        condition=known.condition or "",
        priority=known.priority or "low",
        text=known.text,
        strip=_strip_shown(strip) if strip is not None else None,
    )


def _strip_shown(strip: Strip) -> StripShown:
    stretches = [
        StretchShown(one.gateway, one.start_us, one.rate_hz, one.gain_uv, one.leads, one.samples)
        for one in strip.stretches
    ]
    return StripShown(strip.time_us, strip.from_us, strip.to_us, stretches, [*strip.missing])
