from __future__ import annotations

from pathlib import Path

import pytest

from stream.alarmtables import PAGE, filled, main
from vitals.conditions import Condition

_PROJECT = Path(__file__).resolve().parents[2]


def test_the_page_says_what_the_rules_do() -> None:
    text = (_PROJECT / PAGE).read_text()
    assert text == filled(text), "run make docs"
    assert all(f"| `{condition}` |" in text for condition in Condition)
    assert "heart rate > 120 /min for 10 s" in text
    assert "≤ 115 /min for 5 s" in text


def test_a_page_that_was_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine\n<!-- table limits -->\nby hand\n<!-- end limits -->\nmine too\n")
    assert main([str(page)]) == 0
    text = page.read_text()
    assert "by hand" not in text
    assert text.startswith("mine\n")
    assert text.endswith("mine too\n")
    assert "| `asystole` | 4 | 3 to 6 | s |" in text


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(KeyError):
        filled("<!-- table wishes -->\n<!-- end wishes -->")
