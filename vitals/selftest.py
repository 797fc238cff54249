"""The patients who are nobody: played through the whole service without end, to see that an alarm still comes out.

Their names are reserved. They are decided like everybody else, and count for nothing: no board shows them, no figure
of the burden has them in it, and nothing is learnt from them.
"""

from __future__ import annotations

from typing import Final

from vitals.alerts import AlertEvent, AlertTransition
from vitals.conditions import Condition

PREFIX: Final = "wardwatch-self-test/"
CONDITION: Final = Condition.HEART_RATE_HIGH
"""What their monitors show once a minute, and what must come out."""


def is_self_test(patient: str) -> bool:
    """Whether this is one of them."""
    return patient.startswith(PREFIX)


def proves(step: AlertTransition) -> bool:
    """Whether this step of one of them is what every sink has to be told."""
    return step.condition is CONDITION and step.event is AlertEvent.RAISED
