"""Fog follows the law of scattering, rain falls."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sim.effects import Motion
from sim.effects.weather import FOG, Fog, Rain
from sim.look import Look
from sim.optics import ground_points
from sim.spec import CameraSpec

CAMERA = CameraSpec()
STILL = Motion((0.0, 0.0, 0.0), 0.0, 0.0, 0)


def veiled(strength: float, camera: CameraSpec = CAMERA) -> np.ndarray:
    """How much of a black picture the fog hides, (h, w) in [0, 1]."""
    fog = Fog(strength, Look(), camera, np.random.default_rng(0))
    image = fog(np.zeros((camera.height_px, camera.width_px, 3), np.uint8), STILL)
    return image[..., 0] / FOG[0]


def test_a_tenth_per_camera_height_of_light_is_scattered_on_the_way_from_the_ground():
    ground, depth = ground_points(CAMERA)
    forward, left = ground - [[CAMERA.x_m], [0]]
    distance_m = np.sqrt(forward**2 + left**2 + CAMERA.height_m**2)
    seen = (depth < 60).reshape(64, 64)
    expected = 1 - np.exp(-0.1 * distance_m / CAMERA.height_m).reshape(64, 64)
    assert veiled(1.0)[seen] == pytest.approx(expected[seen], abs=0.006)


def test_the_horizon_is_hidden_and_the_zenith_less():
    up = replace(CAMERA, pitch_rad=-math.radians(40))  # the whole picture is sky
    hidden = veiled(0.3, up)[:, 32]
    assert hidden[-1] > 0.9
    assert hidden[0] < 0.3
    assert (np.diff(hidden) >= 0).all()


def test_fog_looks_alike_for_a_small_car():
    assert np.array_equal(veiled(0.5), veiled(0.5, replace(CAMERA, height_m=0.13)))


def test_each_frame_of_rain_is_another():
    rain = Rain(1.0, Look(), CAMERA, np.random.default_rng(0))
    frames = [rain(np.zeros((64, 64, 3), np.uint8), STILL._replace(frame=frame)) for frame in range(20)]
    assert len({frame.tobytes() for frame in frames}) == 20


def test_streaks_of_rain_are_upright():
    rain = Rain(1.0, Look(), CAMERA, np.random.default_rng(0))
    frame = rain(np.zeros((64, 64, 3), np.uint8), STILL)[..., 0].astype(float)
    across, along = (np.abs(np.diff(frame, axis=axis)).mean() for axis in (1, 0))
    assert across > 1.5 * along
