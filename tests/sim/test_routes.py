"""Drawn roads are smooth, as long as asked for, never meet themselves and are the same for the same seed."""

from functools import cache

import numpy as np
import pytest

from sim.road import STEP_M, Road
from sim.routes import LEAD_M, TAIL_M, TRANSITION_M, RouteError, make_road
from sim.spec import LaneSpec

road_of = cache(make_road)
seeds = pytest.mark.parametrize("seed", range(8))
both_topologies = pytest.mark.parametrize("topology", ["open", "circuit"])


def menger_curvature(xy: np.ndarray) -> np.ndarray:
    """1/R of the circle through each three successive points, 4·area / (a·b·c), left positive; (n - 2,)."""
    a, b, c = xy[1:-1] - xy[:-2], xy[2:] - xy[1:-1], xy[2:] - xy[:-2]
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return 2 * cross / (np.hypot(*a.T) * np.hypot(*b.T) * np.hypot(*c.T))


def loop(road: Road) -> np.ndarray:
    """A circuit's points with the last one in front once more, and the first one behind."""
    return np.concatenate([road.xy_m[-1:], road.xy_m, road.xy_m[:1]])


@both_topologies
def test_the_same_seed_gives_the_same_road_bit_for_bit(topology):
    first, again = (make_road(7, topology=topology) for _ in range(2))
    assert first.xy_m.tobytes() == again.xy_m.tobytes()
    assert first.yaw_rad.tobytes() == again.yaw_rad.tobytes()
    assert first.curvature_1pm.tobytes() == again.curvature_1pm.tobytes()


@both_topologies
def test_another_seed_gives_another_road(topology):
    middles = {tuple(np.round(road_of(seed, 250.0, topology).xy_m[500], 3)) for seed in range(20)}
    assert len(middles) == 20


@pytest.mark.parametrize("length_m", [30.0, 250.0, 400.3])
def test_an_open_road_runs_from_before_the_start_to_beyond_the_end_of_the_route(length_m):
    road = make_road(3, length_m)
    spacing_m = np.linalg.norm(np.diff(road.xy_m, axis=0), axis=1)
    assert spacing_m == pytest.approx(STEP_M, abs=4e-6)  # a chord of the tightest arc, h(1 − κ²h²/24)
    surplus_m = (len(road.xy_m) - 1) * STEP_M - (LEAD_M + length_m + TAIL_M)
    assert -1e-9 <= surplus_m < STEP_M
    assert (road.length_m, road.step_m, road.lead_m, road.closed) == (length_m, STEP_M, LEAD_M, False)


def test_the_route_starts_straight():
    for seed in range(20):
        road = road_of(seed)
        assert not road.curvature_1pm[: road.index(2.0)].any()
        assert road.pose(0.0) == pytest.approx((LEAD_M, 0, 0))


ROUNDING = 2 / 14 / TRANSITION_M * STEP_M / 4  # three points see a corner of the curvature rounded off


@seeds
def test_its_curvature_is_that_of_circles_through_its_points(seed):
    road = road_of(seed)
    assert menger_curvature(road.xy_m) == pytest.approx(road.curvature_1pm[1:-1], abs=ROUNDING + 1e-5)


@seeds
def test_a_circuits_is_too_and_also_across_the_seam(seed):
    road = road_of(seed, 250.0, "circuit")
    assert menger_curvature(loop(road)) == pytest.approx(road.curvature_1pm, abs=ROUNDING + 1e-5)


@seeds
def test_its_heading_is_the_direction_between_its_points(seed):
    road = road_of(seed)
    dx, dy = (road.xy_m[2:] - road.xy_m[:-2]).T
    assert np.unwrap(np.arctan2(dy, dx)) - road.yaw_rad[1:-1] == pytest.approx(0, abs=3e-4)  # of up to 1.8e-2 a point


@both_topologies
@seeds
@pytest.mark.parametrize("radius_m", [14.0, 20.0])
def test_bends_are_no_tighter_than_asked_and_begin_gently(seed, topology, radius_m):
    curvature = make_road(seed, 300.0, topology, LaneSpec(min_radius_m=radius_m)).curvature_1pm
    steepest = 2 / radius_m / TRANSITION_M * STEP_M  # from the tightest right to the tightest left bend
    assert np.abs(curvature).max() <= 1 / radius_m + 1e-12
    assert np.abs(np.diff(curvature)).max() <= steepest * 1.005  # a circuit's steps are a lap's whole part


def test_roads_bend_both_ways():
    curvature = np.concatenate([road_of(seed).curvature_1pm for seed in range(8)])
    assert curvature.max() > 1 / 30
    assert curvature.min() < -1 / 30


def test_some_bends_follow_each_other_directly():
    s_curves = 0
    for seed in range(8):
        crossings = np.flatnonzero(np.diff(np.sign(road_of(seed).curvature_1pm)))
        pairs = road_of(seed).curvature_1pm[np.stack([crossings, crossings + 1])]
        s_curves += np.count_nonzero(pairs.prod(axis=0) < 0)  # from left to right without a straight point between
    assert s_curves >= 4


@pytest.mark.parametrize("length_m", [170.0, 250.0, 333.3, 1000.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_circuit_is_closed_after_the_lap_that_was_asked_for(seed, length_m):
    road = make_road(seed, length_m, "circuit")
    assert (road.length_m, road.lead_m, road.closed) == (length_m, 0.0, True)
    assert road.step_m * len(road.xy_m) == pytest.approx(length_m)
    assert road.step_m == pytest.approx(STEP_M, rel=1e-3)
    spacing_m = np.linalg.norm(np.diff(loop(road), axis=0), axis=1)
    assert spacing_m == pytest.approx(road.step_m, abs=1e-5)
    turn = road.yaw_rad[-1] + road.curvature_1pm[-1] * road.step_m - road.yaw_rad[0]
    assert abs(turn) == pytest.approx(2 * np.pi, abs=1e-9)  # the seam is on a straight


def test_circuits_are_driven_either_way_round_and_bend_both_ways():
    roads = [road_of(seed, 500.0, "circuit") for seed in range(20)]
    assert {np.sign(road.yaw_rad[-1]) for road in roads} == {-1, 1}
    assert all(road.curvature_1pm.min() < -1 / 70 and road.curvature_1pm.max() > 1 / 70 for road in roads)


def test_a_lap_that_is_too_short_for_its_bends_is_an_error():
    with pytest.raises(RouteError, match=r"length_m is 100; expected at least 166: a lap has no room"):
        make_road(0, 100.0, "circuit")


def gaps_m(road: Road, lane: LaneSpec) -> np.ndarray:
    """Between the middles of the road at all pairs of places that lie twice the clearance apart along it."""
    middle = road.offset_line((lane.lanes - 1) * lane.width_m / 2)[::4] @ [1, 1j]
    apart_m = 4 * road.step_m * np.abs(np.subtract.outer(np.arange(len(middle)), np.arange(len(middle))))
    apart_m = np.minimum(apart_m, road.length_m - apart_m) if road.closed else apart_m
    return np.abs(np.subtract.outer(middle, middle))[apart_m > 2 * lane.width_m * (lane.lanes + 3) + 5]


@both_topologies
def test_a_hundred_seeds_give_roads_that_keep_clear_of_themselves(topology):
    for seed in range(100):
        assert gaps_m(make_road(seed, topology=topology), LaneSpec()).min() > 12 - 0.15  # it is checked every 2 m


@pytest.mark.parametrize(("lanes", "clearance_m"), [(2, 15.0), (3, 18.0)])
@both_topologies
def test_several_lanes_keep_clear_too(topology, lanes, clearance_m):
    lane = LaneSpec(lanes=lanes)
    for seed in range(8):
        road = make_road(seed, 600.0, topology, lane)
        assert road.lanes == lanes
        assert gaps_m(road, lane).min() > clearance_m - 0.15


def test_a_long_road_keeps_clear_of_itself():
    assert gaps_m(make_road(1, 2000.0), LaneSpec()).min() > 12 - 0.15


def test_the_inner_lanes_of_a_left_bend_are_not_too_tight():
    left_edge_m = 1.5 + 3 * 3.0
    for seed in range(8):
        curvature = make_road(seed, 400.0, lane=LaneSpec(lanes=4)).curvature_1pm
        assert curvature.max() <= 1 / (14.0 + 4.5) + 1e-12
        assert 1 / curvature.max() > left_edge_m


@both_topologies
@pytest.mark.parametrize("unit_m", [0.1, 1 / 16])
def test_a_small_cars_road_is_the_same_but_small(topology, unit_m):
    full, small = make_road(2, 250.0, topology), make_road(2, 250.0, topology, unit_m=unit_m)
    assert small.xy_m == pytest.approx(full.xy_m * unit_m)
    assert small.yaw_rad.tobytes() == full.yaw_rad.tobytes()
    assert small.curvature_1pm * unit_m == pytest.approx(full.curvature_1pm)
    assert small.unit_m == unit_m
    for name in ("length_m", "step_m", "lead_m"):
        assert getattr(small, name) == pytest.approx(getattr(full, name) * unit_m)
    assert np.concatenate([small.left_m, small.right_m]) == pytest.approx(1.5 * unit_m)
    assert small.pose(100 * unit_m, unit_m)[:2] == pytest.approx([unit_m * q for q in full.pose(100.0, 1.0)[:2]])


def test_an_unknown_topology_is_an_error():
    with pytest.raises(KeyError, match="spiral"):
        make_road(0, topology="spiral")
