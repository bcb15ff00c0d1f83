"""A road knows where its lane is, which way it leads, and where beside it a place lies."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sim.road import STEP_M, Road
from sim.routes import LEAD_M, TAIL_M, make_road
from sim.spec import LaneSpec
from tests.sim.scenes import circle, ring, straight

road_of = cache(make_road)
both_topologies = pytest.mark.parametrize("topology", ["open", "circuit"])


@given(distance_m=st.floats(1, 39), left_m=st.floats(-5, 5))
def test_pose_on_a_circle_is_that_of_polar_coordinates(distance_m, left_m):
    x, y, yaw = circle(20.0).pose(distance_m, left_m)
    angle = distance_m / 20.0
    assert (x, y) == pytest.approx(((20 - left_m) * math.sin(angle), -(20 - left_m) * math.cos(angle)), abs=1e-6)
    assert yaw == pytest.approx(angle, abs=1e-9)


@given(distance_m=st.floats(-100, 300), left_m=st.floats(-5, 5), turn=st.sampled_from([1, -1]))
def test_a_ring_goes_on_for_any_number_of_laps(distance_m, left_m, turn):
    radius_m = 12.0
    x, y, yaw = ring(radius_m, turn=turn).pose(distance_m, left_m)
    angle = turn * distance_m / radius_m
    outside_m = radius_m - turn * left_m
    assert (x, y) == pytest.approx((outside_m * math.cos(angle), outside_m * math.sin(angle)), abs=1e-5)
    assert math.remainder(yaw - angle - turn * math.pi / 2, 2 * math.pi) == pytest.approx(0, abs=1e-9)


@given(distance_m=st.floats(1, 39), left_m=st.floats(-5, 5), astray=st.integers(-20, 20))
def test_locate_on_a_circle_agrees_with_polar_coordinates(distance_m, left_m, astray):
    radius_m = 20.0
    road, angle = circle(radius_m), distance_m / radius_m
    x, y = (radius_m - left_m) * np.sin(angle), -(radius_m - left_m) * np.cos(angle)
    near, found_m, found_left_m = road.locate(x, y, road.index(distance_m) + astray)
    assert found_left_m == pytest.approx(left_m, abs=1e-6)
    assert found_m == pytest.approx(distance_m, abs=1e-5)  # an eighth of a metre's arc for its chord
    assert abs(near * STEP_M - LEAD_M - distance_m) <= STEP_M / 2 + 1e-6


def densely(road: Road) -> tuple[np.ndarray, np.ndarray]:
    """Distances 5 mm apart along the route and the centreline there, complex."""
    distance_m = np.arange(0, road.length_m + 0.005, 0.005)
    return distance_m, np.array([complex(*road.pose(d)[:2]) for d in distance_m])


densely_of = cache(densely)


@both_topologies
@given(seed=st.integers(0, 2), fraction=st.floats(0, 1), left_m=st.floats(-4, 4), astray=st.integers(-20, 20))
def test_locate_finds_the_nearest_place_of_the_centreline(topology, seed, fraction, left_m, astray):
    road = road_of(seed, 250.0, topology)
    x, y, _ = road.pose(fraction * road.length_m, left_m)
    start = road.index(fraction * road.length_m) + astray
    _, found_m, found_left_m = road.locate(x, y, start % len(road.xy_m) if road.closed else max(start, 0))
    distances_m, centre = densely_of(road)
    gaps_m = np.abs(centre - complex(x, y))
    nearest = int(np.argmin(gaps_m))
    apart_m = found_m - distances_m[nearest]
    assert abs(found_left_m) == pytest.approx(gaps_m[nearest], abs=5e-3)
    assert (math.remainder(apart_m, road.length_m) if road.closed else apart_m) == pytest.approx(0, abs=0.01)


@both_topologies
@given(seed=st.integers(0, 4), fraction=st.floats(0, 1), left_m=st.floats(-4, 4))
def test_locate_is_the_inverse_of_pose(topology, seed, fraction, left_m):
    road = road_of(seed, 250.0, topology)
    distance_m = fraction * road.length_m
    x, y, _ = road.pose(distance_m, left_m)
    _, found_m, found_left_m = road.locate(x, y, road.index(distance_m))
    ahead_m = math.remainder(found_m - distance_m, road.length_m) if road.closed else found_m - distance_m
    assert ahead_m == pytest.approx(0, abs=1e-3)
    assert found_left_m == pytest.approx(left_m, abs=1e-4)


def test_a_car_is_followed_across_the_seam_of_a_circuit():
    road = ring(10.0)
    near, distances = len(road.xy_m) - 4, []
    for angle in np.linspace(-0.05, 0.05, 11):
        near, distance_m, offset_m = road.locate(11 * math.cos(angle), 11 * math.sin(angle), near)
        distances.append(math.remainder(distance_m, road.length_m))
        assert offset_m == pytest.approx(-1.0, abs=1e-6)
    assert distances == pytest.approx(10 * np.linspace(-0.05, 0.05, 11), abs=1e-5)
    assert near < 4


@both_topologies
def test_along_the_road_nothing_jumps(topology):
    road = road_of(3, 250.0, topology)
    fine_m = np.arange(-1, 2 * road.length_m if road.closed else road.length_m, 0.01)
    poses = np.array([road.pose(d) for d in fine_m])
    assert np.hypot(*np.diff(poses[:, :2], axis=0).T) == pytest.approx(0.01, abs=1e-5)
    turned = np.diff(np.unwrap(poses[:, 2]))
    curvature = np.array([road.curvature_at(d) for d in fine_m])
    assert turned == pytest.approx(curvature[1:] * 0.01, abs=3e-5)
    assert [road.heading_at(d) for d in fine_m[::100]] == poses[::100, 2].tolist()


@given(distance_m=st.floats(-10, 60))
def test_curvature_and_heading_are_linear_between_points(distance_m):
    road = make_road(5, 60.0)
    at_m = np.arange(len(road.xy_m)) * STEP_M - LEAD_M
    assert road.curvature_at(distance_m) == pytest.approx(np.interp(distance_m, at_m, road.curvature_1pm), abs=1e-12)
    assert road.heading_at(distance_m) == pytest.approx(np.interp(distance_m, at_m, road.yaw_rad), abs=1e-12)


def test_a_line_beside_a_circle_is_a_circle():
    line = circle(20.0).offset_line(1.5)
    assert np.hypot(*line.T) == pytest.approx(18.5)


def test_a_line_may_lie_farther_away_at_some_points_than_at_others():
    road = straight()
    away_m = np.linspace(-2, 3, len(road.xy_m))
    assert road.offset_line(away_m)[:, 1] == pytest.approx(away_m)


def test_left_is_positive():
    assert straight().pose(10.0, 1.0) == pytest.approx((10.0, 1.0, 0.0))


def test_the_other_lanes_and_a_shoulder_are_paved_too():
    right_m, left_m = make_road(0, 30.0, lane=LaneSpec(width_m=3.0, lanes=3), unit_m=0.1).pavement
    assert right_m == pytest.approx(-0.2)  # half a lane of 3 m and a shoulder of 0.5 m, at a tenth
    assert left_m == pytest.approx(0.8)  # two more lanes


def test_places_beyond_the_ends_are_the_ends():
    road = straight(40.0)
    assert road.pose(-1e3) == pytest.approx((-LEAD_M, 0, 0))
    assert road.pose(1e3)[0] == pytest.approx(40.0 + TAIL_M, abs=STEP_M)
    assert (road.index(-1e3), road.index(1e3)) == (0, len(road.xy_m) - 1)


@given(distance_m=st.floats(-1e4, 1e4))
def test_the_index_is_that_of_the_nearest_point(distance_m):
    road = ring(10.0)
    away_m = math.remainder(distance_m - road.index(distance_m) * road.step_m, road.length_m)
    assert abs(away_m) <= road.step_m / 2 + 1e-9


@given(x_m=st.floats(-1e3, 1e3), y_m=st.floats(-1e3, 1e3), near=st.integers(0, 255))
def test_a_place_astray_is_located_somewhere(x_m, y_m, near):
    assume(math.hypot(x_m, y_m) > 1e-3)
    i, distance_m, offset_m = ring(10.0).locate(x_m, y_m, near)
    assert 0 <= i < 256
    assert math.isfinite(distance_m)
    assert math.isfinite(offset_m)
