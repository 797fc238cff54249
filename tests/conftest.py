"""What the tests share: one real Kafka for the session, clean topics for a test, the folder of recordings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.broker import JavaNode, create_topics
from stream.brokerjars import cache_folder
from tests.support.topics import delete_all_topics

_BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def broker() -> Iterator[JavaNode]:
    """Apache Kafka on free ports, started once. ``.bootstrap`` is its address; freeze it, kill it, start it again."""
    with JavaNode(cache_folder()) as node:
        create_topics(node.bootstrap)
        yield node


@pytest.fixture
def kafka_topics(broker: JavaNode) -> str:
    """The address of a broker whose topics are all there, empty and without offsets of any group."""
    delete_all_topics(broker.bootstrap)
    create_topics(broker.bootstrap)
    return broker.bootstrap


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real recordings: ``WARDWATCH_DATA``, else ``../shared/data`` where it exists."""
    named = os.environ.get("WARDWATCH_DATA")
    folder = Path(named) if named else _BESIDE_THE_PROJECT
    if not folder.is_dir():
        pytest.skip("not run: no real recordings here (set WARDWATCH_DATA to a folder that has them)")
    return folder
