"""Samples of any rate to millivolts on the common grid: 250 Hz of event time, the same for every patient and device.

Causal: a one-pole high-pass at 0.5 Hz and a Butterworth low-pass of order 4 at 40 Hz at the native rate (the monitoring
band of IEC 60601-2-27), then a cubic between native samples. The delay of the low-pass at low frequencies is taken
back, so that an R peak stands where it happened. Nothing here depends on how the samples were cut into chunks.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from vitals.kernels import kernel
from vitals.units import US_PER_S

RATE_HZ: Final = 250
LEADS: Final = 2
GRID_US: Final = US_PER_S // RATE_HZ
RING: Final = 1024
"""Grid samples remembered: 4.096 s."""
MASK: Final = RING - 1
BLOCK: Final = 128
"""Grid samples made at a time: what is older than RING - BLOCK samples may be gone."""

NOT_MEASURED: Final = -32768

# What is known of a grid sample of one lead; lead 1 uses the same bits four places up.
MISSING: Final = 1
STUCK: Final = 2
CLIPPED: Final = 4
RAILED: Final = 8
LEAD_SHIFT: Final = 4

_HIGH_PASS_HZ: Final = 0.5
_LOW_PASS_HZ: Final = 40.0
_LOW_PASS_FROM_HZ: Final = 100.0  # slower devices have nothing above 40 Hz to take away
_BUTTERWORTH_Q: Final = (0.5411961001461970, 1.3065629648763764)
_HELD_S: Final = 0.05  # a shorter hole is held over; after a longer one, or from a rail, the filters begin anew
_STUCK_S: Final = 0.2
_CLIPPED_S: Final = 0.01
_CLIPPED_SAMPLES: Final = 3
_RAIL: Final = 32767
_RAIL_MV: Final = 4.0  # constant so far from zero is an open input, not an isoelectric line
_FULL_SCALE_UV: Final = 32767.0

FIELDS: Final = [
    ("next_grid", np.int64),
    ("first_grid", np.int64),
    ("delay_us", np.float64),
    ("high_pass", np.float64, (2,)),
    ("low_pass", np.float64, (2, 5)),
    ("memory", np.float64, (LEADS, 5)),
    ("held_mv", np.float64, (LEADS,)),
    ("tail_mv", np.float64, (LEADS, 3)),
    ("tail_flags", np.uint8, (LEADS, 3)),
    ("missing_for", np.int32, (LEADS,)),
    ("same_for", np.int32, (LEADS,)),
    ("last_raw", np.int16, (LEADS,)),
    ("highest_raw", np.int16, (LEADS,)),
    ("lowest_raw", np.int16, (LEADS,)),
    ("ring_uv", np.int16, (LEADS, RING)),
    ("ring_flags", np.uint8, (RING,)),
]


@kernel
def begin(state):
    """Filters for the rate of a run that has just begun, and nothing remembered."""
    rate_hz = state.rate_hz
    state.first_grid = -((-state.run_start_us) // GRID_US)
    state.next_grid = state.first_grid
    warped = math.tan(math.pi * _HIGH_PASS_HZ / rate_hz)
    state.high_pass[0] = 1.0 / (1.0 + warped)
    state.high_pass[1] = (warped - 1.0) / (1.0 + warped)
    state.delay_us = 0.0
    if rate_hz >= _LOW_PASS_FROM_HZ:
        warped = math.tan(math.pi * _LOW_PASS_HZ / rate_hz)
        for k in range(2):
            q = _BUTTERWORTH_Q[k]
            norm = 1.0 / (1.0 + warped / q + warped * warped)
            state.low_pass[k, 0] = warped * warped * norm
            state.low_pass[k, 1] = 2.0 * state.low_pass[k, 0]
            state.low_pass[k, 2] = state.low_pass[k, 0]
            state.low_pass[k, 3] = 2.0 * (warped * warped - 1.0) * norm
            state.low_pass[k, 4] = (1.0 - warped / q + warped * warped) * norm
            state.delay_us += 0.5 * state.period_us / (q * warped)
    state.memory[:] = 0.0
    state.tail_mv[:] = 0.0
    state.tail_flags[:] = MISSING
    state.missing_for[:] = np.int32(1 << 30)
    state.same_for[:] = 0
    state.last_raw[:] = NOT_MEASURED
    state.highest_raw[:] = NOT_MEASURED
    state.lowest_raw[:] = _RAIL
    state.ring_uv[:] = 0
    state.ring_flags[:] = 0


@kernel
def make_room():
    """Room for ``to_grid`` to work in, and what it writes into it: ``grid_uv`` (int16[2, BLOCK], at most 32.767 mV),
    ``grid_flags`` (uint8[BLOCK]), ``known_us`` (int64[BLOCK], event time of the native sample that completed it).
    """
    return (
        np.zeros((LEADS, 3 + 8 * BLOCK)),
        np.zeros((LEADS, 3 + 8 * BLOCK), np.uint8),
        np.zeros((LEADS, BLOCK), np.int16),
        np.zeros(BLOCK, np.uint8),
        np.zeros(BLOCK, np.int64),
    )


@kernel
def block_samples(state):
    """Native samples that ``to_grid`` can be given at a time."""
    return np.int64((BLOCK - 8) * state.rate_hz / RATE_HZ)


@kernel
def to_grid(state, samples, first, stride, count, gain_mv, room):
    """Filter ``count`` native samples and put them on the grid.

    ``samples[first + lead * stride + i]``: int16. ``room``: see ``make_room``. Returns how many grid samples there are.
    """
    native_mv, native_flags, grid_uv, grid_flags, known_us = room
    leads = min(state.n_leads, LEADS)
    for lead in range(leads):
        native_mv[lead, :3] = state.tail_mv[lead]
        native_flags[lead, :3] = state.tail_flags[lead]
        offset = first + lead * stride
        _filter(state, lead, samples[offset : offset + count], gain_mv, native_mv[lead], native_flags[lead])
        state.tail_mv[lead] = native_mv[lead, count : count + 3]
        state.tail_flags[lead] = native_flags[lead, count : count + 3]

    start_us = state.run_start_us
    delay_us = state.delay_us
    samples_per_us = state.rate_hz / US_PER_S
    origin = state.taken - 3
    last = state.taken + count - 1
    n = 0
    k = state.next_grid
    while True:
        position = (np.float64(k * GRID_US - start_us) + delay_us) * samples_per_us
        before = np.int64(position)
        if before + 2 > last:
            break
        a = position - before
        w0 = a * (-0.5 + a * (1.0 - 0.5 * a))
        w1 = 1.0 + a * a * (-2.5 + 1.5 * a)
        w2 = a * (0.5 + a * (2.0 - 1.5 * a))
        w3 = a * a * (-0.5 + 0.5 * a)
        i = before - origin
        flags = 0
        for lead in range(leads):
            x = native_mv[lead]
            uv = 1000.0 * (w0 * x[i - 1] + w1 * x[i] + w2 * x[i + 1] + w3 * x[i + 2])
            grid_uv[lead, n] = np.int16(np.rint(min(max(uv, -_FULL_SCALE_UV), _FULL_SCALE_UV)))
            flags |= (np.int64(native_flags[lead, i]) | np.int64(native_flags[lead, i + 1])) << (LEAD_SHIFT * lead)
        for lead in range(leads, LEADS):
            grid_uv[lead, n] = 0
            flags |= MISSING << (LEAD_SHIFT * lead)
        grid_flags[n] = flags
        known_us[n] = start_us + np.int64(np.rint((before + 2) * state.period_us))
        n += 1
        k += 1
    state.next_grid = k
    state.taken += count
    return n


@kernel
def _filter(state, lead, raw, gain_mv, out_mv, out_flags):
    h0, h1 = state.high_pass[0], state.high_pass[1]
    c = state.low_pass
    b0, b1, a1, a2 = c[0, 0], c[0, 1], c[0, 3], c[0, 4]
    d0, d1, e1, e2 = c[1, 0], c[1, 1], c[1, 3], c[1, 4]
    low_pass = state.delay_us > 0.0
    m = state.memory[lead]
    m0, m1, m2, m3, m4 = m[0], m[1], m[2], m[3], m[4]
    missing_for = state.missing_for[lead]
    same_for = state.same_for[lead]
    last_raw = state.last_raw[lead]
    highest, lowest = state.highest_raw[lead], state.lowest_raw[lead]
    held_mv = state.held_mv[lead]
    held_for = np.int32(_HELD_S * state.rate_hz)
    stuck_for = np.int32(_STUCK_S * state.rate_hz)
    clipped_for = max(_CLIPPED_SAMPLES, np.int32(_CLIPPED_S * state.rate_hz))
    for i in range(len(raw)):
        value = raw[i]
        flags = 0
        if value == NOT_MEASURED:
            missing_for = min(missing_for + 1, 1 << 30)
            flags = MISSING
        else:
            if value == last_raw:
                same_for = min(same_for + 1, 1 << 30)
            else:
                if same_for >= stuck_for and abs(held_mv) >= _RAIL_MV:
                    missing_for = held_for + 1  # the way back from the rail is no heartbeat
                same_for = 0
            last_raw = value
            highest = max(highest, value)
            lowest = min(lowest, value)
            if same_for >= clipped_for and (value == highest or value == lowest):
                flags |= CLIPPED
            held_mv = value * gain_mv
            if value == _RAIL or value == -_RAIL:
                flags |= CLIPPED
            if same_for >= stuck_for:
                flags |= STUCK
                if flags & CLIPPED and abs(held_mv) >= _RAIL_MV:
                    flags |= RAILED
            if missing_for > held_for:
                m0 = -h0 * held_mv
                m1 = m2 = m3 = m4 = 0.0
            missing_for = 0
        y = h0 * held_mv + m0
        m0 = -h0 * held_mv - h1 * y
        if low_pass:
            x = y
            y = b0 * x + m1
            m1 = b1 * x - a1 * y + m2
            m2 = b0 * x - a2 * y
            x = y
            y = d0 * x + m3
            m3 = d1 * x - e1 * y + m4
            m4 = d0 * x - e2 * y
        out_mv[3 + i] = y
        out_flags[3 + i] = flags
    m[0], m[1], m[2], m[3], m[4] = m0, m1, m2, m3, m4
    state.missing_for[lead] = missing_for
    state.same_for[lead] = same_for
    state.last_raw[lead] = last_raw
    state.highest_raw[lead], state.lowest_raw[lead] = highest, lowest
    state.held_mv[lead] = held_mv
