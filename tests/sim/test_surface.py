"""What is painted lies where the lane says, to a centimetre."""

import numpy as np
import pytest

from sim.road import make_road
from sim.surface import ASPHALT, PAINT, PIXELS_PER_M, draw_surface
from tests.sim.scenes import circle, straight


@pytest.fixture(scope="module")
def surface():
    return draw_surface(straight(lanes=2))


def paint_across(surface, x_low_m: float, x_high_m: float) -> tuple[np.ndarray, np.ndarray]:
    """How much of each row is painted between two x, (h,) in [0, 1], and the rows' y in metres."""
    columns = slice(*(round((x - surface.origin_m[0]) * PIXELS_PER_M) for x in (x_low_m, x_high_m)))
    grey = surface.image[:, columns].mean(axis=(1, 2))
    y_m = surface.origin_m[1] + (np.arange(len(grey)) + 0.5) / PIXELS_PER_M
    return np.clip((grey - np.mean(ASPHALT)) / (np.mean(PAINT) - np.mean(ASPHALT)), 0, 1), y_m


@pytest.mark.parametrize("line_m", [-1.5, 4.5])
def test_edge_lines_lie_half_a_lane_right_and_one_and_a_half_left_of_the_centre(surface, line_m):
    paint, y_m = paint_across(surface, 0.0, 40.0)
    here = np.abs(y_m - line_m) < 0.35
    paint = np.where(paint > 0.05, paint, 0)[here]  # the asphalt's mottle is no paint
    assert np.average(y_m[here], weights=paint) == pytest.approx(line_m, abs=0.01)
    assert paint.sum() / PIXELS_PER_M == pytest.approx(0.15, abs=1 / PIXELS_PER_M)


def test_the_line_between_the_lanes_is_painted_for_three_metres_in_nine(surface):
    paint, y_m = paint_across(surface, 0.0, 36.0)
    dashed, solid = (paint[np.abs(y_m - at_m) < 0.1].max() for at_m in (1.5, 4.5))
    assert dashed / solid == pytest.approx(3 / 9, abs=0.05)


def test_the_asphalt_ends_half_a_metre_beyond_the_edge_lines(surface):
    green = surface.image[..., 1].astype(int) - surface.image[..., 2] > 12
    column = round((20.0 - surface.origin_m[0]) * PIXELS_PER_M)
    paved = surface.origin_m[1] + np.flatnonzero(~green[:, column]) / PIXELS_PER_M
    assert paved.min() == pytest.approx(-2.0, abs=0.15)
    assert paved.max() == pytest.approx(5.0, abs=0.15)


def test_lines_follow_a_bend():
    surface = draw_surface(circle(20.0))
    angle = np.linspace(0.1, 1.9, 50)
    right_line = 21.5 * np.stack([np.sin(angle), -np.cos(angle)], axis=1)
    column, row = np.floor(surface.to_pixels(right_line)).astype(int).T
    assert surface.image[row, column].mean() > 190
    assert surface.image[row - 5, column].mean() < 150


def test_the_same_road_looks_the_same_and_another_does_not():
    first, again, other = (draw_surface(make_road(seed, 60.0)) for seed in (1, 1, 2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.origin_m == again.origin_m
    assert first.image[:300, :300].tobytes() != other.image[:300, :300].tobytes()


def test_a_metre_is_ten_pixels_from_the_origin(surface):
    x, y = surface.origin_m
    assert surface.to_pixels(np.array([[x, y], [x + 1, y + 2]])) == pytest.approx(np.array([[0, 0], [10, 20]]))


def test_grass_surrounds_the_whole_road():
    road = make_road(4)
    surface = draw_surface(road)
    column, row = surface.to_pixels(road.xy_m).T
    height, width, _ = surface.image.shape
    nearest = min(column.min(), row.min(), (width - column).min(), (height - row).min())
    assert nearest / PIXELS_PER_M == pytest.approx(16.0, abs=0.1)
