"""The car's geometry, its grip, and time passing. What holds for every vehicle is in tests/contracts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.car import SUBSTEP_S, ackermann, steering_between
from sim.vehicles import load_vehicle
from tests.sim.vehicles.rig import drive, on_plane

CAR = load_vehicle("city_car")
ANGLES = st.floats(-0.6, 0.6).filter(lambda angle: abs(angle) > 1e-3)


@pytest.fixture(scope="module")
def car():
    with on_plane(CAR) as car:
        yield car


@given(steering_rad=ANGLES)
def test_perpendiculars_of_the_front_wheels_meet_on_the_rear_axles_line(steering_rad):
    wheelbase_m, track_m = 1.7, 1.1
    left, right = ackermann(steering_rad, wheelbase_m, track_m)
    from_left = track_m / 2 + wheelbase_m / math.tan(left)
    from_right = -track_m / 2 + wheelbase_m / math.tan(right)
    assert from_left == pytest.approx(from_right, rel=1e-9)
    assert from_left == pytest.approx(wheelbase_m / math.tan(steering_rad), rel=1e-9)


def test_wheels_are_straight_when_steering_is():
    assert ackermann(0.0, 1.7, 1.1) == (0.0, 0.0)


@given(steering_rad=st.floats(-0.6, 0.6))
def test_steering_is_read_off_the_wheels_that_ackermann_set(steering_rad):
    assert steering_between(*ackermann(steering_rad, 1.7, 1.1), 1.7, 1.1) == pytest.approx(steering_rad, abs=1e-12)


@pytest.mark.parametrize("yaw_rad", [-3.0, 0.0, 2.0, 100.0])
def test_a_placed_car_stands_where_it_was_put(car, yaw_rad):
    car.place(3.0, -4.0, yaw_rad)
    x, y, yaw, *moving = car.measured
    assert (x, y) == (3.0, -4.0)
    assert math.remainder(yaw - yaw_rad, 2 * math.pi) == pytest.approx(0, abs=1e-12)
    assert moving == [0.0, 0.0, 0.0]
    assert car.advance(2.0)[:2] == pytest.approx((3.0, -4.0), abs=1e-6)


@pytest.mark.parametrize("substeps", [1, 2, 3, 4, 30, 100])
def test_time_passes_in_whole_substeps(car, substeps):
    car.place(0.0, 0.0, 0.0)
    start = drive(car, 0.0, 1.0, 40)[-1]
    end = car.advance(substeps * SUBSTEP_S + 0.3 * SUBSTEP_S)
    assert end.x_m - start[0] == pytest.approx(CAR.top_speed_mps * substeps * SUBSTEP_S, rel=1e-3)


def test_what_it_is_told_holds_however_long(car):
    car.place(0.0, 0.0, 0.0)
    drive(car, 0.5, 1.0, 40)
    car.follow(0.1, 0.0)
    stopped = car.advance(30.0)
    assert stopped.speed_mps == pytest.approx(0, abs=1e-6)
    assert stopped.steering_rad == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("friction", [0.1, 0.2])
def test_tyres_brake_no_harder_than_they_grip(friction):
    with on_plane(replace(CAR, tyre_friction=friction)) as car:
        speed = np.concatenate([drive(car, 0.0, 1.0, 60), drive(car, 0.0, 0.0, 5)])[:, 3]
    assert np.diff(speed[60:]) == pytest.approx(-friction * 9.81 * 0.1, rel=0.01)
    assert np.diff(speed[:10]) == pytest.approx(min(1.5, friction * 9.81 / 2) * 0.1, rel=0.01)


def test_on_ice_it_slides_out_of_the_bend():
    with on_plane(replace(CAR, tyre_friction=0.05)) as car:
        car.place(0.0, 0.0, 0.0)
        drive(car, 0.0, 1.0, 150)
        x, y, _, speed, *_ = drive(car, 1.0, 1.0, 40).T
    course_rad = np.arctan2(np.diff(y), np.diff(x))
    turn_radps = np.diff(np.unwrap(course_rad)) / 0.1
    # Friction acts along two axes of the world at once: √2 μ g at most.
    assert np.abs(turn_radps * speed[1:-1]).max() < 1.1 * math.sqrt(2) * 0.05 * 9.81
    assert CAR.top_speed_mps**2 * math.tan(CAR.max_steering_rad) / CAR.wheelbase_m > 2.5  # what the bend would take


def test_it_refuses_to_become_another_vehicle(car):
    with pytest.raises(ValueError, match="a city_car cannot become a racecar"):
        car.respec(load_vehicle("racecar"))
