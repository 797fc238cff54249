"""One turn from the lock to the tidying: why, the cycle, what became of it, for the journal and for MLflow."""

from __future__ import annotations

from models.registry import Registry
from trainer.config import Places, Recipe
from trainer.cycle import cycle, follow
from trainer.journal import Journal, Outcome
from trainer.lock import one_at_a_time
from trainer.runs import Run
from trainer.telling import tell
from trainer.tidy import tidy
from trainer.tracking import TrackedRun
from trainer.work import Work
from trainer.world import ALONE, World
from vitals.clock import Clock
from vitals.errors import WardwatchError


def take(
    recipe: Recipe,
    places: Places,
    clock: Clock,
    *,
    why: str,
    kafka: str | None = None,
    fresh: bool = False,
    world: World = ALONE,
) -> Run | None:
    """A turn of the task of ``recipe``; None in a process that only learns along.

    Raises ``Busy`` while another trainer is at work, and what ``cycle`` raises.
    """
    if not world.first:
        follow(recipe, places, clock, world)
        return None
    with one_at_a_time(places.state), Journal(places.state, recipe.task).turn(why, clock) as ending:
        tracked = TrackedRun(places, recipe, "turn", {"why": why}, clock)
        try:
            run = cycle(recipe, places, clock, kafka=kafka, fresh=fresh, world=world, told=tracked.epoch)
        except WardwatchError:
            tracked.failed()
            Work(places.state, recipe, clock).done()  # what failed is not taken up again, what was killed is
            raise
        ending.outcome = Outcome.RELEASED if run.bundle else Outcome.REFUSED
        tracked.ended(run, Registry(places.registry))
        if kafka is not None:
            tell(kafka, run, why)
        tidy(places, recipe.task)
    return run
