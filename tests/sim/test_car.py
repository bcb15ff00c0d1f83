"""The car obeys geometry and the limits of its specification."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.car import ackermann
from sim.spec import CONTROL_PERIOD_S
from sim.world import World
from tests.sim.scenes import CAR, straight

FULL, STAND = 1.0, -1.0


@pytest.fixture(scope="module")
def world():
    world = World(straight(), CAR)
    yield world
    world.close()


def drive(world: World, steering: float, speed: float, steps: int) -> np.ndarray:
    """Poses and speeds (x, y, yaw, v) after each control period, (steps, 4)."""
    passed = []
    for _ in range(steps):
        world.command(np.array([steering, speed]))
        world.advance(CONTROL_PERIOD_S)
        passed.append((*world.pose, world.speed_mps))
    return np.array(passed)


@given(steering_rad=st.floats(-0.6, 0.6).filter(lambda angle: abs(angle) > 1e-3))
def test_perpendiculars_of_the_front_wheels_meet_on_the_rear_axles_line(steering_rad):
    wheelbase_m, track_m = 1.7, 1.1
    left, right = ackermann(steering_rad, wheelbase_m, track_m)
    from_left = track_m / 2 + wheelbase_m / math.tan(left)
    from_right = -track_m / 2 + wheelbase_m / math.tan(right)
    assert from_left == pytest.approx(from_right, rel=1e-9)
    assert from_left == pytest.approx(wheelbase_m / math.tan(steering_rad), rel=1e-9)


def test_wheels_are_straight_when_steering_is():
    assert ackermann(0.0, 1.7, 1.1) == (0.0, 0.0)


@pytest.mark.parametrize("speed", [-0.4, FULL])
@pytest.mark.parametrize("steering", [1.0, -0.5, 0.2, 0.05])
def test_it_turns_on_the_bicycle_models_circle(world, steering, speed):
    world.place()
    x, y, yaw, _ = drive(world, steering, speed, 120)[50:].T
    rear_x, rear_y = x - CAR.wheelbase_m / 2 * np.cos(yaw), y - CAR.wheelbase_m / 2 * np.sin(yaw)
    travelled_m = np.hypot(np.diff(rear_x), np.diff(rear_y)).sum()
    turned_rad = np.unwrap(yaw)[-1] - np.unwrap(yaw)[0]
    radius_m = CAR.wheelbase_m / math.tan(steering * CAR.max_steering_rad)
    assert travelled_m / turned_rad == pytest.approx(radius_m, rel=0.01)
    assert world.steering_rad == pytest.approx(steering * CAR.max_steering_rad, rel=0.03)


def test_it_takes_v_over_a_to_reach_top_speed(world):
    world.place()
    speed = drive(world, 0.0, FULL, 40)[:, 3]
    ideal_s = CAR.top_speed_mps / CAR.max_acceleration_mps2
    nearly = np.argmax(speed >= 0.95 * CAR.top_speed_mps) + 1
    assert nearly * CONTROL_PERIOD_S == pytest.approx(0.95 * ideal_s, rel=0.1)
    assert speed[-1] == pytest.approx(CAR.top_speed_mps, rel=0.005)
    assert np.diff(speed).max() / CONTROL_PERIOD_S <= CAR.max_acceleration_mps2 * 1.02


def test_it_stops_within_v_squared_over_two_a_and_stays(world):
    world.place()
    moving = drive(world, 0.0, FULL, 40)[-1]
    braking = drive(world, 0.0, STAND, 15)
    assert braking[-1, 0] - moving[0] == pytest.approx(moving[3] ** 2 / (2 * CAR.max_braking_mps2), rel=0.15)
    assert abs(drive(world, 0.0, STAND, 50)[-1, 0] - braking[-1, 0]) < 0.005


@pytest.mark.parametrize("speed", [-0.7, 0.0, 0.6])
def test_it_keeps_the_speed_that_it_is_told(world, speed):
    world.place()
    assert drive(world, 0.1, speed, 40)[-1, 3] == pytest.approx((speed + 1) / 2 * CAR.top_speed_mps, rel=0.02)


def test_it_goes_straight_when_it_is_not_steered(world):
    world.place()
    x, y, yaw, _ = drive(world, 0.0, FULL, 110)[-1]
    assert x > 25
    assert (y, yaw) == pytest.approx((0, 0), abs=0.02)


def test_left_and_right_are_mirror_images(world):
    world.place()
    left = drive(world, 0.4, FULL, 30)
    world.place()
    right = drive(world, -0.4, FULL, 30)
    assert right * [1, -1, -1, 1] == pytest.approx(left, abs=0.02)
