from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from models.registry import BundleUntrusted, Registry
from models.signing import KeyRefused, Trust, keygen
from tests.trainer.synthetic import breast_set
from tests.trainer.test_cycle import NOW_US, small, world
from trainer.config import places
from trainer.cycle import cycle
from vitals.clock import ManualClock
from vitals.findings import Task

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]


def test_a_release_is_signed_where_there_is_a_key_and_only_then_trusted(tmp_path: Path) -> None:
    private, public = keygen(tmp_path / "keys")
    at = msgspec.structs.replace(world(tmp_path), signing_key=private)
    breast_set(at.data)
    run = cycle(small(), at, ManualClock(NOW_US))
    careful = Registry(at.registry, trust=Trust.read(public))
    current = careful.current(Task.BREAST)
    assert current is not None
    assert current.hash == run.bundle
    (at.registry / "breast" / f"{run.bundle}.sig").unlink()
    with pytest.raises(BundleUntrusted, match="nobody signed it"):
        careful.current(Task.BREAST)


def test_a_key_that_cannot_be_read_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    at = msgspec.structs.replace(world(tmp_path), signing_key=tmp_path / "no such key")
    with pytest.raises(KeyRefused, match="no private key can be read"):
        cycle(small(), at, ManualClock(NOW_US))


def test_the_key_comes_from_the_environment() -> None:
    assert places({}).signing_key is None
    assert places({"WARDWATCH_SIGNING_KEY": "/keys/signing-key.pem"}).signing_key == Path("/keys/signing-key.pem")
