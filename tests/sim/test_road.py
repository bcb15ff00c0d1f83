"""A road is smooth, as long as asked for, never meets itself and is the same for the same seed."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.road import LEAD_M, STEP_M, TAIL_M, TRANSITION_M, Road, make_road
from sim.spec import LaneSpec
from tests.sim.scenes import circle, straight

road_of = cache(make_road)
seeds = pytest.mark.parametrize("seed", range(8))


def menger_curvature(xy: np.ndarray) -> np.ndarray:
    """1/R of the circle through each three successive points, 4·area / (a·b·c), left positive; (n - 2,)."""
    a, b, c = xy[1:-1] - xy[:-2], xy[2:] - xy[1:-1], xy[2:] - xy[:-2]
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return 2 * cross / (np.hypot(*a.T) * np.hypot(*b.T) * np.hypot(*c.T))


def test_the_same_seed_gives_the_same_road_bit_for_bit():
    first, again = make_road(7), make_road(7)
    assert first.xy_m.tobytes() == again.xy_m.tobytes()
    assert first.yaw_rad.tobytes() == again.yaw_rad.tobytes()
    assert first.curvature_1pm.tobytes() == again.curvature_1pm.tobytes()


def test_another_seed_gives_another_road():
    ends = {tuple(np.round(road_of(seed).xy_m[-1], 3)) for seed in range(20)}
    assert len(ends) == 20


@pytest.mark.parametrize("length_m", [30.0, 250.0, 400.3])
def test_it_runs_from_before_the_start_to_beyond_the_end_of_the_route(length_m):
    road = make_road(3, length_m)
    spacing_m = np.linalg.norm(np.diff(road.xy_m, axis=0), axis=1)
    assert spacing_m == pytest.approx(STEP_M, abs=1e-12)
    surplus_m = spacing_m.sum() - (LEAD_M + length_m + TAIL_M)
    assert -1e-9 <= surplus_m < STEP_M


def test_the_route_starts_straight():
    for seed in range(20):
        road = road_of(seed)
        assert not road.curvature_1pm[: road.index(2.0)].any()


@seeds
def test_its_curvature_is_that_of_circles_through_its_points(seed):
    road = road_of(seed)
    rounding = 2 / 14 / TRANSITION_M * STEP_M / 4  # three points see a corner of the curvature rounded off
    assert menger_curvature(road.xy_m) == pytest.approx(road.curvature_1pm[1:-1], abs=rounding + 1e-5)


@seeds
def test_its_heading_is_the_direction_between_its_points(seed):
    road = road_of(seed)
    dx, dy = (road.xy_m[2:] - road.xy_m[:-2]).T
    difference = np.unwrap(np.arctan2(dy, dx)) - road.yaw_rad[1:-1]
    assert difference == pytest.approx(0, abs=3e-4)  # of up to 1.8e-2 from point to point


@seeds
@pytest.mark.parametrize("radius_m", [14.0, 25.0])
def test_bends_are_no_tighter_than_asked_and_begin_gently(seed, radius_m):
    curvature = make_road(seed, lane=LaneSpec(min_radius_m=radius_m)).curvature_1pm
    assert np.abs(curvature).max() <= 1 / radius_m + 1e-12
    steepest = 2 / radius_m / TRANSITION_M * STEP_M  # from the tightest right to the tightest left bend
    assert np.abs(np.diff(curvature)).max() <= steepest + 1e-12


def test_roads_bend_both_ways():
    curvature = np.concatenate([road_of(seed).curvature_1pm for seed in range(8)])
    assert curvature.max() > 1 / 30
    assert curvature.min() < -1 / 30


def test_two_hundred_seeds_give_roads_that_keep_clear_of_themselves():
    clearance_m = 5 * LaneSpec().width_m
    for seed in range(200):
        xy = make_road(seed).xy_m[::4]
        apart_m = 4 * STEP_M * np.abs(np.subtract.outer(np.arange(len(xy)), np.arange(len(xy))))
        gap_m = np.abs(np.subtract.outer(xy @ [1, 1j], xy @ [1, 1j]))
        assert gap_m[apart_m > 2 * clearance_m + 2].min() > clearance_m - 0.15  # it is checked every 2 m


@given(
    seed=st.integers(0, 9),
    distance_m=st.floats(-8, 280),
    left_m=st.floats(-4, 4),
    astray=st.integers(-20, 20),
)
def test_locate_finds_where_pose_has_put_a_point(seed, distance_m, left_m, astray):
    road = road_of(seed)
    i = road.index(distance_m)
    x, y, yaw = road.pose(distance_m, left_m)
    near, found_m, found_left_m = road.locate(x, y, min(max(i + astray, 0), len(road.xy_m) - 1))
    assert near == i
    assert found_m == pytest.approx(distance_m, abs=STEP_M / 2 + 1e-9)
    assert found_left_m == pytest.approx(left_m, abs=1e-9)
    assert yaw == road.yaw_rad[i]


@given(distance_m=st.floats(1, 39), left_m=st.floats(-2, 2))
def test_locate_on_a_circle_agrees_with_polar_coordinates(distance_m, left_m):
    radius_m = 20.0
    road, angle = circle(radius_m), distance_m / radius_m
    x, y = (radius_m - left_m) * np.sin(angle), -(radius_m - left_m) * np.cos(angle)
    _, found_m, found_left_m = road.locate(x, y, road.index(distance_m))
    assert found_left_m == pytest.approx(left_m, abs=1e-3)
    assert found_m == pytest.approx(distance_m, abs=STEP_M / 2 * abs(left_m) / radius_m + 1e-3)


def test_a_line_beside_a_circle_is_a_circle():
    line = circle(20.0).offset_line(1.5)
    assert np.hypot(*line.T) == pytest.approx(18.5)


def test_left_is_positive():
    assert straight().pose(10.0, 1.0) == pytest.approx((10.0, 1.0, 0.0))


def test_places_beyond_the_ends_are_the_ends():
    road: Road = straight(40.0)
    assert road.pose(-1e3) == pytest.approx((-LEAD_M, 0, 0))
    assert road.pose(1e3)[0] == pytest.approx(40.0 + TAIL_M, abs=STEP_M)
