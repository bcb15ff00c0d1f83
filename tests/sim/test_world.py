"""The world moves the car as commanded, and knows when it leaves its lane."""

import math
from pathlib import Path

import numpy as np
import pybullet
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sim.renderers import RENDERERS
from sim.routes import make_road
from sim.spec import CONTROL_PERIOD_S
from sim.world import World
from tests.sim.scenes import CAR, circle, scene, straight

RATE_LIMIT = 0.8 * 0.1 / math.radians(30)  # action units a step: 0.8 rad/s for 0.1 s of a lock of 30°


@pytest.fixture(scope="module")
def world():
    world = World(scene(straight()))
    yield world
    world.close()


@pytest.fixture(scope="module")
def bend():
    world = World(scene(circle(14.0)))
    yield world
    world.close()


def drive(world: World, action: list[float], steps: int) -> None:
    for _ in range(steps):
        world.command(np.array(action))
        world.advance(CONTROL_PERIOD_S)


def test_steering_moves_by_its_rate_until_it_is_there(world):
    world.place()
    moves = [world.command(np.array([1.0, -1.0]))[0] for _ in range(10)]
    assert moves == pytest.approx(np.minimum(RATE_LIMIT * np.arange(1, 11), 1.0), abs=1e-6)
    back = [world.command(np.array([-0.1, -1.0]))[0] for _ in range(10)]
    assert back == pytest.approx(np.maximum(1 - RATE_LIMIT * np.arange(1, 11), -0.1), abs=1e-6)


def test_the_wheels_are_at_most_two_steps_behind_the_executed_steering(world):
    world.place()
    wanted_rad = [0.0, 0.0]
    for _ in range(6):
        drive(world, [1.0, 0.0], 1)
        wanted_rad.append(world.executed[0] * CAR.max_steering_rad)
        assert wanted_rad[-3] <= world.steering_rad <= wanted_rad[-1]
    drive(world, [1.0, 0.0], 10)
    assert world.steering_rad == pytest.approx(math.radians(30), rel=0.03)


@given(actions=st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=8))
def test_what_command_returns_is_what_is_executed(world, actions):
    world.place()
    before = 0.0
    for action in actions:
        executed = world.command(np.array(action))
        assert executed.dtype == np.float32
        assert executed.tolist() == world.executed.tolist()
        assert abs(executed[0] - before) <= RATE_LIMIT + 1e-6
        assert executed[1] == pytest.approx(np.clip(action[1], -1, 1))
        before = executed[0]


def test_brake_brings_the_car_to_rest_and_holds_it_with_its_steering(world):
    world.place()
    drive(world, [0.3, 1.0], 30)
    world.brake()
    world.advance(1.5)
    assert world.executed == pytest.approx([0.3, -1.0])
    stood = world.pose
    world.advance(5.0)
    assert world.speed_mps == pytest.approx(0, abs=1e-3)
    assert world.pose == pytest.approx(stood, abs=0.01)
    assert world.steering_rad == pytest.approx(0.3 * CAR.max_steering_rad, abs=0.02)


def test_a_placed_car_remembers_nothing(world):
    world.place()
    drive(world, [0.5, 1.0], 30)
    world.place(10.0, 0.3, -0.1)
    assert world.pose == pytest.approx((10.0, 0.3, -0.1), abs=1e-6)
    assert (world.speed_mps, world.steering_rad) == (0.0, 0.0)
    assert world.executed.tolist() == [0.0, -1.0]
    assert world.track == pytest.approx((10.0, 0.3, -0.1, 0.0), abs=1e-6)
    world.advance(1.0)
    assert world.pose == pytest.approx((10.0, 0.3, -0.1), abs=5e-3)


def test_the_same_drive_after_place_is_the_same_bit_for_bit(world):
    ends = []
    for steering, steps in ((0.2, 20), (-0.4, 1), (0.0, 0)):
        world.place()
        drive(world, [steering, 1.0], steps)
        world.place()
        drive(world, [0.1, 0.5], 20)
        ends.append((world.pose, world.speed_mps, world.capture().tobytes()))
    assert ends[0] == ends[1] == ends[2]


def wheels_m(pose: tuple[float, float, float]) -> np.ndarray:
    """Where the four wheels stand, as complex numbers."""
    x, y, yaw = pose
    corners = np.array([0.85 + 0.55j, 0.85 - 0.55j, -0.85 + 0.55j, -0.85 - 0.55j])
    return x + 1j * y + corners * np.exp(1j * yaw)


@given(offset_m=st.floats(-1.6, 1.6), error_rad=st.floats(-1.2, 1.2))
@example(offset_m=0.949, error_rad=0.0)
@example(offset_m=0.951, error_rad=0.0)
def test_a_disengagement_is_a_wheel_beyond_the_edge_of_the_lane(world, offset_m, error_rad):
    world.place(10.0, offset_m, error_rad)
    beyond_m = np.abs(wheels_m((10.0, offset_m, error_rad)).imag).max() - 1.5
    assert world.edge_m == pytest.approx(-beyond_m, abs=1e-5)
    if abs(beyond_m) > 1e-6:
        assert world.disengagement == ("off lane" if beyond_m > 0 else None)


@pytest.mark.parametrize("error_rad", [-0.4, -0.1, 0.0, 0.2])
@pytest.mark.parametrize("side", [1, -1])
def test_in_a_bend_too(bend, side, error_rad):
    verdicts = set()
    for offset_m in np.linspace(0.6, 1.0, 81):
        bend.place(10.0, side * offset_m, error_rad)
        beyond_m = np.abs(14.0 - np.abs(wheels_m(bend.pose))).max() - 1.5
        assert bend.edge_m == pytest.approx(-beyond_m, abs=0.005)
        if abs(beyond_m) > 0.003:
            assert bend.disengagement == ("off lane" if beyond_m > 0 else None)
            verdicts.add(bend.disengagement)
    assert verdicts == {None, "off lane"}


def test_heading_error_and_offset_are_measured_in_a_bend(bend):
    bend.place(20.0, -0.4, 0.15)
    assert bend.track == pytest.approx((20.0, -0.4, 0.15, 1 / 14), abs=1e-6)


def test_heading_error_stays_small_after_whole_turns():
    world = World(scene(circle(14.0, length_m=200.0)))
    world.place(190.0, 0.0, 0.1)  # after more than two turns
    assert world.track.heading_error_rad == pytest.approx(0.1, abs=1e-6)
    world.close()


def test_it_is_finished_at_the_end_of_the_route_and_not_before(world):
    world.place(39.5)
    assert not world.finished
    drive(world, [0.0, 1.0], 10)
    assert world.track.distance_m > 40.0
    assert world.finished


def test_time_passes_in_whole_substeps(world):
    world.place()
    drive(world, [0.0, 1.0], 40)
    start_m = world.pose[0]
    world.advance(1.0)
    assert world.pose[0] - start_m == pytest.approx(CAR.top_speed_mps, rel=0.005)


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.parametrize(("renderer", "loads"), [("planar", 50), ("bullet", 10)])
def test_loading_roads_again_and_again_keeps_nothing_of_them(renderer, loads):
    roads = [make_road(seed, 20.0) for seed in range(5)]
    world = World(scene(roads[0]), renderer)
    for road in roads:
        world.load(scene(road))
    bodies, before_mb = pybullet.getNumBodies(world.client), resident_mb()
    for i in range(loads):
        world.load(scene(roads[i % 5]))
        world.capture()
    grown_mb, picture_mb = resident_mb() - before_mb, world.surface.strip.image.nbytes / 1e6
    assert pybullet.getNumBodies(world.client) == bodies
    assert grown_mb < loads * picture_mb / 4  # one picture in four kept would be a leak
    world.close()


@pytest.mark.parametrize("renderer", RENDERERS)
def test_closing_frees_every_pybullet(renderer, monkeypatch):
    opened = []
    connect = pybullet.connect
    monkeypatch.setattr(pybullet, "connect", lambda *mode: opened.append(connect(*mode)) or opened[-1])
    world = World(scene(straight()), renderer)
    world.load(scene(straight(20.0)))
    world.close()
    assert opened
    assert not any(pybullet.isConnected(client) for client in opened)


def test_the_chase_view_follows_the_car_to_another_road():
    world = World(scene(straight()))
    first = world.chase(world.capture())
    world.load(scene(circle(14.0)))
    second = world.chase(world.capture())
    assert first.shape == second.shape == (384, 704, 3)
    assert not np.array_equal(first[192:, 512:], second[192:, 512:])
    world.close()
