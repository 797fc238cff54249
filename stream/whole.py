"""A recording through the signal path in one go, for tools without a broker: any cutting gives the same windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stream.gateways.wfdb import Recording
from vitals.errors import Fault
from vitals.rows import Rows
from vitals.units import EARLIEST_US
from vitals.windows.ecg import EcgStep, EcgWindows


def advanced(sources: Sequence[npt.NDArray[np.int16]], recording: Recording) -> tuple[EcgWindows, Rows, EcgStep]:
    """``sources``: [leads, n] each, samples of ``recording`` as of a patient of their own, from ``EARLIEST_US`` on.

    Returns the state afterwards, the row of each source, and what was cut. Raises ``Fault`` for what no monitor sends.
    """
    windows, c = EcgWindows(), len(sources)
    rows = windows.add(c)
    try:
        step = windows.advance(
            rows,
            np.full(c, EARLIEST_US, np.int64),
            np.full(c, recording.rate_hz),
            np.array([len(samples) for samples in sources], np.int32),
            np.full(c, recording.gain_uv),
            np.array([samples.shape[1] for samples in sources], np.int32),
            np.concatenate([samples.ravel() for samples in sources]),
        )
    except ValueError as error:
        raise Fault(f"no monitor sends that: {error}") from error
    return windows, rows, step
