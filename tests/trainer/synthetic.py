"""A small world to learn from: images whose label can be seen, in the files the real sets come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def breast_set(data: Path, *, train: int = 200, validation: int = 120, seed: int = 3) -> None:
    """A BreastMNIST look-alike: malignant images have a dark blob above, benign ones below."""
    draw = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for split, n in (("train", train), ("val", validation)):
        label = (draw.random(n) < 0.6).astype(np.uint8)
        images = draw.integers(120, 200, (n, 28, 28))
        for image, benign in zip(images, label, strict=True):
            top = 16 if benign else 2
            image[top : top + 10, 8:20] //= 3
        # some of them are told wrongly, so that nobody is ever certain
        wrong = draw.random(n) < 0.05
        arrays[f"{split}_images"] = images.astype(np.uint8)
        arrays[f"{split}_labels"] = np.where(wrong, 1 - label, label).astype(np.uint8)[:, None]
    (data / "medmnist").mkdir(parents=True, exist_ok=True)
    np.savez(data / "medmnist" / "breastmnist.npz", **arrays)


def glucose_table(data: Path, *, people: int = 90, readings: int = 200, seed: int = 4) -> None:
    """A table ``id,time,gl`` of people whose glucose swings with a period of their own."""
    draw = np.random.default_rng(seed)
    folder = data / "cgm_glucobench" / "raw_data"
    folder.mkdir(parents=True, exist_ok=True)
    at_min = 5 * np.arange(readings)
    with (folder / "waves.csv").open("w", encoding="utf-8") as file:
        file.write("id,time,gl\n")
        for person in range(people):
            period_min, phase = draw.uniform(120, 240), draw.uniform(0, 6.28)
            glucose = 140 + 60 * np.sin(2 * np.pi * at_min / period_min + phase) + draw.normal(0, 2, readings)
            for minutes, value in zip(at_min.tolist(), glucose.tolist(), strict=True):
                day, rest = divmod(minutes, 1440)
                file.write(f"p{person},2024-01-{day + 1:02d} {rest // 60:02d}:{rest % 60:02d}:00,{value:.1f}\n")
