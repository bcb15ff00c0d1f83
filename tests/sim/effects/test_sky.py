"""The sun glows where it stands, and dusk falls on everything."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sim.effects import Motion
from sim.effects.sky import Dusk, SunGlow
from sim.look import Look
from sim.spec import CameraSpec

CAMERA = CameraSpec(pitch_rad=0.0)
SKY_ROWS = 32


def glow(sun_azimuth_rad: float, yaw_rad: float, camera: CameraSpec = CAMERA) -> np.ndarray:
    """The light that the sun adds to a black picture, (h, w)."""
    effect = SunGlow(1.0, Look(sun_azimuth_rad=sun_azimuth_rad), camera, np.random.default_rng(0))
    image = np.zeros((camera.height_px, camera.width_px, 3), np.uint8)
    return effect(image, Motion((0.0, 0.0, yaw_rad), 0.0, 0.0, 0)).astype(float).sum(axis=2)


@pytest.mark.parametrize("left_rad", [-0.5, -0.1, 0.0, 0.3, 0.6])
@pytest.mark.parametrize("yaw_rad", [0.0, 2.0, 40.0])
def test_the_sun_stands_in_the_column_that_looks_at_it(left_rad, yaw_rad):
    columns = glow(yaw_rad + left_rad, yaw_rad)[:SKY_ROWS].mean(axis=0)
    expected = 32 - CAMERA.focal_px * math.tan(left_rad)
    assert np.argmax(columns) + 0.5 == pytest.approx(expected, abs=1.01)


def test_a_camera_turned_to_the_left_sees_the_sun_further_right():
    columns = [glow(0.0, 0.0, replace(CAMERA, yaw_rad=yaw)).mean(axis=0).argmax() for yaw in (-0.3, 0.0, 0.3)]
    assert columns[0] < columns[1] < columns[2]


def test_only_the_sky_glows():
    assert glow(0.0, 0.0)[:SKY_ROWS].max() > 300
    assert not glow(0.0, 0.0)[SKY_ROWS:].any()


def test_a_sun_behind_is_not_seen():
    assert not glow(math.pi, 0.0).any()


def test_dusk_leaves_the_middle_lightest_and_blue_strongest():
    effect = Dusk(1.0, Look(), CAMERA, np.random.default_rng(0))
    image = effect(np.full((64, 64, 3), 200, np.uint8), Motion((0.0, 0.0, 0.0), 0.0, 0.0, 0))
    red, green, blue = image[32, 32]
    assert red < green < blue < 160
    assert image[0, 0].max() < image[32, 32].min()
