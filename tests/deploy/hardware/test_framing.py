"""A camera's picture becomes the policy's: its middle, each pixel the mean of those that it covers."""

import numpy as np
import pytest

from deploy.hardware.framing import fit


def test_the_right_size_is_left_alone():
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    assert fit(image, 4, 4) is image


def test_a_wide_picture_loses_its_sides_alike():
    image = np.zeros((2, 6, 3), np.uint8)
    image[:, 2:4] = [10, 20, 30]
    assert fit(image, 2, 2).tolist() == [[[10, 20, 30]] * 2] * 2


def test_a_tall_picture_loses_top_and_bottom_alike():
    image = np.zeros((6, 2, 3), np.uint8)
    image[2:4] = 50
    assert fit(image, 2, 2).tolist() == [[[50] * 3] * 2] * 2


def test_each_pixel_is_the_mean_of_those_it_covers():
    image = np.zeros((120, 160, 3), np.uint8)  # donkeycar's; the middle 120 × 120 becomes 60 × 60
    image[0:2, 20:22] = [[[0, 8, 100], [4, 8, 100]], [[8, 8, 100], [12, 8, 104]]]
    small = fit(image, 60, 60)
    assert small.shape == (60, 60, 3)
    assert small.dtype == np.uint8
    assert small[0, 0].tolist() == [6, 8, 101]
    assert not small[1:].any()


def test_left_stays_left():
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, :80] = 200
    small = fit(image, 64, 64)
    assert small[:, :31].min() == 200
    assert small[:, 33:].max() == 0


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_said(image):
    with pytest.raises(ValueError, match=r"expected uint8 \(height, width, 3\)"):
        fit(image, 2, 2)
