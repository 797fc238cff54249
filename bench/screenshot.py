"""A picture of a running board: ``python -m bench.screenshot --url http://127.0.0.1:8080 --out docs/images/board.png``.

Waits until every tile on the page with an ECG has a moving trace, then some seconds more for sweeps to fill.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.support.chromium import chromium

_ALL_DRAWN = """
const tiles = [...document.querySelectorAll('.tile')];
return tiles.length >= arguments[0] && tiles.every(t => t.dataset.ecg !== 'stale');
"""


def main() -> int:
    """0 when the picture was written."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("--url", default="http://127.0.0.1:8080")
    said.add_argument("--out", type=Path, default=Path("docs/images/board.png"))
    said.add_argument("--width", type=int, default=1920)
    said.add_argument("--height", type=int, default=1080)
    said.add_argument("--tiles", type=int, default=16, choices=(8, 12, 16, 24, 32, 48, 64))
    said.add_argument("--at-least", type=int, default=1, help="wait for so many tiles")
    said.add_argument("--order", default="bed", choices=("bed", "urgency"))
    said.add_argument("--settle-s", type=float, default=9.0)
    asked = said.parse_args()
    with chromium(asked.width, asked.height) as browser:
        browser.get(asked.url)
        Select(browser.find_element(By.ID, "size")).select_by_visible_text(str(asked.tiles))
        Select(browser.find_element(By.ID, "order")).select_by_value(asked.order)
        WebDriverWait(browser, 60).until(lambda b: b.execute_script(_ALL_DRAWN, asked.at_least))
        browser.execute_script("document.activeElement.blur()")
        time.sleep(asked.settle_s)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(asked.out))
        for line in browser.get_log("browser"):
            print(line["level"], line["message"])
    print(f"{asked.out}: {asked.out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
