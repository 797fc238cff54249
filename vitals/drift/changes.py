"""What some beds have to tell of a drift, as a table: empty nearly always."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vitals.events import DriftKind


@dataclass(frozen=True, slots=True)
class Changes:
    """``n`` drifts that began or ended (``began``: bool[n]). ``row``: int32[n]; ``end_us``: int64[n], event time of the
    window that it is known with; ``from_us``: int64[n], since when; ``size``: float32[n], in the unit of its kind.
    """

    kind: Sequence[DriftKind]
    row: npt.NDArray[np.int32]
    end_us: npt.NDArray[np.int64]
    began: npt.NDArray[np.bool_]
    from_us: npt.NDArray[np.int64]
    size: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.kind)
