from __future__ import annotations

from pathlib import Path

from stream.catalogue import PAGE, page

_PROJECT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_the_tables_say() -> None:
    assert (_PROJECT / PAGE).read_text() == page(), "run make docs"
