"""The grid tells where in the strip every place of the world lies."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.look import Look
from sim.routes import make_road
from sim.surface import NOWHERE, Surface, draw_surface
from tests.sim.scenes import circle, road_along, straight

SURFACES = {
    "straight": draw_surface(straight(), Look()),
    "bend": draw_surface(circle(20.0), Look()),
    "country": draw_surface(make_road(5), Look()),
    "small": draw_surface(make_road(5, unit_m=0.1), Look()),
    "circuit": draw_surface(make_road(1, 300.0, "circuit"), Look()),
}


def looked_up(surface: Surface, x_m: float, y_m: float) -> tuple[float, float]:
    """(along, left) in metres of a place, as the planar renderer finds them."""
    x, y = ((at - low) / surface.cell_m for at, low in zip((x_m, y_m), surface.origin_m, strict=True))
    column, row = (cv2.remap(at, np.float32([[x]]), np.float32([[y]]), cv2.INTER_LINEAR).item() for at in surface.grid)
    strip = surface.strip
    return (column + 0.5) / strip.along_ppm, strip.half_m - (row + 0.5) / strip.across_ppm


@pytest.mark.parametrize("name", SURFACES)
@settings(max_examples=60)
@given(part=st.floats(0.02, 0.98), left=st.floats(-6, 6))
def test_a_place_beside_the_road_is_found_to_two_centimetres_across_and_six_along(name, part, left):
    surface = SURFACES[name]
    road, unit = surface.road, surface.road.unit_m
    distance_m = part * road.length_m
    x, y, _ = road.pose(distance_m, left * unit)
    along_m, left_m = looked_up(surface, x, y)
    assert left_m == pytest.approx(left * unit, abs=0.02 * unit)
    assert along_m == pytest.approx(distance_m + road.lead_m, abs=0.06 * unit)  # most beside the sharpest bends


def test_on_a_circle_a_places_distance_from_the_centre_is_its_offset():
    surface = SURFACES["bend"]
    for radius_m in (12.0, 18.5, 20.0, 26.0):
        along_m, left_m = looked_up(surface, radius_m * math.sin(0.7), -radius_m * math.cos(0.7))
        assert left_m == pytest.approx(20.0 - radius_m, abs=0.01)
        assert along_m - surface.road.lead_m == pytest.approx(0.7 * 20.0, abs=0.01)


def test_beyond_the_strip_there_is_nothing():
    surface = SURFACES["straight"]
    assert surface.grid[1, 0, 0] == NOWHERE
    x, y, _ = surface.road.pose(10.0, surface.strip.half_m + 0.7)
    assert abs(looked_up(surface, x, y)[1]) > surface.strip.half_m


def test_half_way_between_two_stretches_of_road_no_third_one_appears():
    """A hairpin of 8 m radius: its legs run 16 m apart, so that their strips of 12 m overlap."""
    radius_m, leg = 8.0, np.zeros(240)
    step_m = math.pi * radius_m / 100
    curvature = np.concatenate([leg, np.full(100, 1 / radius_m), leg])
    yaw = np.cumsum(curvature) * step_m
    xy = np.cumsum(step_m * np.stack([np.cos(yaw), np.sin(yaw)], axis=1), axis=0)
    surface = draw_surface(road_along(xy, yaw, curvature, step_m=step_m), Look())
    for y in np.arange(1.0, 2 * radius_m - 1.0, 0.05):
        nearest_leg_m = min(y, 2 * radius_m - y)
        assert abs(looked_up(surface, 20.0, y)[1]) >= nearest_leg_m - 0.3


@pytest.mark.parametrize("name", SURFACES)
def test_the_same_road_and_look_give_the_same_surface(name):
    surface = SURFACES[name]
    again = draw_surface(surface.road, Look())
    assert again.grid.tobytes() == surface.grid.tobytes()
    assert again.strip.image.tobytes() == surface.strip.image.tobytes()
