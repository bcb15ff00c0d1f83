"""Shadows fall away from the sun, and light is the same over the whole strip."""

import math

import numpy as np
import pytest

from sim.effects import light
from sim.look import Look
from sim.strip import draw_strip
from tests.sim.scenes import straight


def shade(sun_azimuth_rad: float) -> np.ndarray:
    """How much darker trees make each place of a road that leads along x, (rows, columns) in [0, 1]."""
    strip = draw_strip(straight(200.0), Look(sun_azimuth_rad=sun_azimuth_rad))
    before = strip.image[..., 1].astype(float)
    light.cast_tree_shadows(strip, 1.0, np.random.default_rng(3))
    return 1 - (strip.image[..., 1] + 0.5) / (before + 0.5)


def cast_one(sun_azimuth_rad: float) -> np.ndarray:
    """The shaded places (along_m, left_m) of one tree that stands 20 m along the road in its middle, (2, n)."""
    strip = draw_strip(straight(), Look())
    shadow = np.zeros(strip.image.shape[:2], np.uint8)
    turn = light._lie_down(strip, sun_azimuth_rad + math.pi, length_m=6.0, width_m=3.0)
    foot = (20 * strip.along_ppm, strip.half_m * strip.across_ppm)
    light._cast(strip.image, shadow, light.tree(0), turn, foot, strength=1.0)
    rows, columns = np.nonzero(shadow > 20)
    return np.stack([(columns + 0.5) / strip.along_ppm, strip.half_m - (rows + 0.5) / strip.across_ppm])


@pytest.mark.parametrize("sun_azimuth_rad", [0.0, math.pi / 2, -math.pi / 2, 2.5, -0.7])
def test_a_shadow_points_away_from_the_sun_and_is_as_long_as_told(sun_azimuth_rad):
    places = cast_one(sun_azimuth_rad)
    away = -np.array([math.cos(sun_azimuth_rad), math.sin(sun_azimuth_rad)])
    along = away @ (places - [[20.0], [0.0]])
    aside = [-away[1], away[0]] @ (places - [[20.0], [0.0]])
    assert along.min() == pytest.approx(0, abs=0.3)
    assert 4.5 < along.max() < 6.1
    assert np.abs(aside).max() < 1.7
    assert aside.mean() == pytest.approx(0, abs=0.4)


@pytest.mark.parametrize("sun_azimuth_rad", [math.pi / 2, -math.pi / 2])
def test_with_the_sun_beside_the_road_shadows_lie_across_it(sun_azimuth_rad):
    lane = shade(sun_azimuth_rad)[210:270]
    assert 0.05 < (lane > 0.2).mean() < 0.7
    assert lane.max() < 0.6  # the sky still lights it


def test_with_the_sun_ahead_they_lie_beside_the_road():
    assert (shade(0.0)[225:255] > 0.2).mean() < 0.05


def test_shadows_have_soft_edges():
    places = shade(math.pi / 2)[210:270]
    assert ((places > 0.05) & (places < 0.4)).sum() > 0.2 * (places > 0.05).sum()


@pytest.mark.parametrize("effect", [light.tint, light.darken])
def test_light_changes_every_place_by_the_same_gains(effect):
    strip = draw_strip(straight(), Look())
    before = strip.image[..., :3].astype(float)
    effect(strip, 1.0, np.random.default_rng(3))
    gains = strip.image[..., :3] / before
    clear = (strip.image[..., :3] < 255).all(axis=2)
    assert gains[clear].std(axis=0).max() < 0.01


def test_dusk_darkens_red_most_and_blue_least():
    strip = draw_strip(straight(), Look())
    before = strip.image.mean(axis=(0, 1))
    light.darken(strip, 1.0, np.random.default_rng(3))
    red, green, blue, _ = strip.image.mean(axis=(0, 1)) / before
    assert 0.5 < red < green < blue < 0.8
