"""Dirt stays on the glass, and the picture smears as the camera moves."""

import numpy as np
import pytest

from sim.effects import Motion
from sim.effects.lens import EXPOSURE_S, DirtyLens, MotionBlur
from sim.look import Look
from sim.spec import CameraSpec

CAMERA = CameraSpec(width_px=160, height_px=120, pitch_rad=0.0)
HORIZON = 60


def blurred(image: np.ndarray, speed_mps: float = 0.0, yaw_rate_radps: float = 0.0) -> np.ndarray:
    effect = MotionBlur(1.0, Look(), CAMERA, np.random.default_rng(0))
    return effect(image.copy(), Motion((0.0, 0.0, 0.0), speed_mps, yaw_rate_radps, 0))


def spread(profile: np.ndarray) -> float:
    """The variance of a profile about its centre, in pixels²."""
    place = np.arange(len(profile))
    weights = profile.astype(float)
    return float(np.average((place - np.average(place, weights=weights)) ** 2, weights=weights))


def line(row: int | None = None, column: int | None = None) -> np.ndarray:
    """A black picture with one white row or column."""
    image = np.zeros((120, 160, 3), np.uint8)
    image[slice(row, row + 1) if row else slice(None), slice(column, column + 1) if column else slice(None)] = 255
    return image


@pytest.mark.parametrize("yaw_rate_radps", [0.3, 0.8])
def test_a_turn_shares_a_line_with_its_neighbours_as_it_passes_over_them(yaw_rate_radps):
    image = blurred(line(column=80), yaw_rate_radps=yaw_rate_radps)
    pixels = CAMERA.focal_px * yaw_rate_radps * EXPOSURE_S  # below 2: ∫ u du / pixels from 0 to pixels / 2
    assert image[30, 79:82, 0] / 255 == pytest.approx([pixels / 8, 1 - pixels / 4, pixels / 8], abs=0.02)


def test_a_quick_turn_smears_as_far_as_the_camera_turns():
    image = blurred(line(column=80), yaw_rate_radps=1.5)
    pixels = CAMERA.focal_px * 1.5 * EXPOSURE_S
    assert spread(image[30, :, 0]) == pytest.approx(pixels**2 / 12 + 1 / 6, rel=0.2)


def test_the_lowest_row_smears_downwards_by_what_the_ground_moves_there():
    speed_mps = 2.0
    middle = blurred(line(row=117), speed_mps=speed_mps)[112:, 80, 0].astype(float) / 255
    y = 117.5 - HORIZON
    pixels = y * y * speed_mps * EXPOSURE_S / (CAMERA.focal_px * CAMERA.height_m)
    assert 1 < pixels < 2
    assert middle[117 - 112] == pytest.approx(1 - pixels / 4, abs=0.06)


def test_driving_smears_the_ground_by_its_own_motion_and_never_the_sky():
    assert spread(blurred(line(row=30), speed_mps=3.0)[:, 80, 0]) == 0
    near, far = (spread(blurred(line(row=row), speed_mps=3.0)[:, 80, 0]) for row in (112, 85))
    assert near > 2 * far > 0


def test_a_small_fast_car_sees_no_more_smear_than_eight_pixels():
    image = blurred(line(row=110), speed_mps=100.0)[:, 80, 0].astype(int)
    reached = np.flatnonzero(image)
    assert 6 <= np.ptp(reached) <= 8 + 1


def test_a_camera_at_rest_is_sharp():
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    assert np.array_equal(blurred(image), image)


def test_a_plain_picture_stays_plain():
    plain = np.full((120, 160, 3), 120, np.uint8)
    assert np.abs(blurred(plain, 3.0, 0.7).astype(int) - 120).max() <= 1


def test_dirt_stays_where_it_is():
    effect = DirtyLens(1.0, Look(), CAMERA, np.random.default_rng(0))
    frames = [effect(np.zeros((120, 160, 3), np.uint8), Motion((x, 0.0, x), 3.0, 0.1, int(x))) for x in (0.0, 7.0)]
    assert np.array_equal(*frames)
    assert 0.02 < (frames[0] > 20).mean() < 0.6
