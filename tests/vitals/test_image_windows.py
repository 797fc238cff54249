"""Pictures of any size and type to the square that the networks see."""

from __future__ import annotations

import numpy as np
import pytest

from vitals.errors import Reason, Unusable
from vitals.simulate import picture
from vitals.windows.image import SIDE, image_window


def test_a_small_square_of_bytes_comes_out_exactly() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    window = image_window(pixels)
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window[0], pixels.astype(np.float64).astype(np.float32) / np.float32(255))


@pytest.mark.parametrize("factor", [2, 5])
def test_enlarging_by_a_whole_number_changes_nothing(factor: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    large = np.kron(pixels, np.ones((factor, factor), np.uint8))
    np.testing.assert_allclose(image_window(large), image_window(pixels), atol=1e-6)


@pytest.mark.parametrize("side", [29, 41, 100, 1023])
def test_averaging_over_areas_keeps_the_mean(side: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (side, side)).astype(np.uint8)
    assert image_window(pixels).mean() == pytest.approx(pixels.mean() / 255, abs=1e-6)


def test_the_central_square_is_taken() -> None:
    pixels = np.zeros((40, 60), np.uint8)
    pixels[:, 10:50] = 200
    pixels[0, 10] = 0
    window = image_window(pixels)
    assert window[0, 1:, 1:].min() == pytest.approx(200 / 255)


def test_sixteen_bits_and_floats_are_stretched_from_their_own_range() -> None:
    ramp = np.tile(np.arange(SIDE), (SIDE, 1))
    for pixels in ((ramp * 150 + 1000).astype(np.uint16), (ramp * 30 - 500).astype(np.int16), ramp * 0.001):
        window = image_window(pixels)
        np.testing.assert_allclose(window[0], ramp / (SIDE - 1), atol=1e-6)


def test_a_smaller_picture_is_enlarged() -> None:
    assert image_window(np.array([[0, 255], [255, 0]], np.uint8)).shape == (1, SIDE, SIDE)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((0, 10), np.uint8), Reason.PIXELS_MISSING),
        (np.zeros((64, 64), np.uint8), Reason.PIXELS_MISSING),
        (np.full((64, 64), 77, np.uint16), Reason.PIXELS_MISSING),
        (np.zeros((4, 4, 3), np.uint8), Reason.PIXELS_UNREADABLE),
        (np.array([["a", "b"], ["c", "d"]]), Reason.PIXELS_UNREADABLE),
        (np.ones((4, 4), np.complex64), Reason.PIXELS_UNREADABLE),
        (np.eye(1, 5000, dtype=np.uint8), Reason.PIXELS_UNREADABLE),
        (np.array([[0.0, np.nan], [1.0, 2.0]]), Reason.NOT_FINITE),
        (np.array([[0.0, np.inf], [1.0, 2.0]]), Reason.NOT_FINITE),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(pixels: np.ndarray, reason: Reason) -> None:
    with pytest.raises(Unusable) as refused:
        image_window(pixels)
    assert refused.value.reason is reason


def test_simulated_pictures_differ_by_illness_and_seed_only() -> None:
    well, ill, other = picture(1, ill=False), picture(1, ill=True), picture(2, ill=False)
    np.testing.assert_array_equal(well, picture(1, ill=False))
    assert image_window(ill).mean() > image_window(well).mean()
    assert (other != well).any()
