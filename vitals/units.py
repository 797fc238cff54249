"""Units and the bounds of the possible. A number without a unit in its name is a defect."""

from __future__ import annotations

US_PER_S = 1_000_000
US_PER_MS = 1_000
S_PER_MIN = 60

MG_DL_PER_MMOL_L = 18.0156  # molar mass of glucose 180.156 g/mol
GLUCOSE_MIN_MG_DL = 20.0  # below the range of every CGM on the market (40), kept for blood meters
GLUCOSE_MAX_MG_DL = 600.0

RATE_MIN_HZ = 50.0
RATE_MAX_HZ = 2000.0
GAIN_MAX_UV = 1000.0  # microvolts per least significant bit

EARLIEST_US = 946_684_800 * US_PER_S  # 2000-01-01
LATEST_US = 4_102_444_800 * US_PER_S  # 2100-01-01


def mg_dl_from_mmol_l(glucose_mmol_l: float) -> float:
    """Mass concentration of glucose from its amount concentration."""
    return glucose_mmol_l * MG_DL_PER_MMOL_L
