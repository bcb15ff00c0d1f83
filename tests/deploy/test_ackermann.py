"""An action and ROS's drive message say the same, in their own units."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.ackermann import AckermannDrive, from_ackermann, to_ackermann
from deploy.vehicles import VehicleSpec

F1TENTH = VehicleSpec(64, 64, top_speed_mps=5.0, max_steering_rad=0.4, max_steering_rate_radps=3.2)
inside = st.floats(-1, 1)
anything = st.floats(allow_nan=False, allow_infinity=False, width=32)  # the message's fields are float32
cars = st.builds(VehicleSpec, st.just(64), st.just(64), st.floats(0.1, 40), st.floats(0.05, 1.2), st.floats(0.1, 10))


@pytest.mark.parametrize(
    ("action", "steering_angle", "speed"),
    [
        ((0.0, -1.0), 0.0, 0.0),  # standing, straight
        ((1.0, 1.0), 0.4, 5.0),  # full left, top speed
        ((-0.5, 0.0), -0.2, 2.5),  # half right, half speed
    ],
)
def test_it_says_rad_and_metres_a_second(action, steering_angle, speed):
    drive = to_ackermann(action, F1TENTH, acceleration_mps2=2.5)
    assert drive == AckermannDrive(pytest.approx(steering_angle), 3.2, pytest.approx(speed), 2.5, 0.0)
    assert from_ackermann(drive, F1TENTH) == pytest.approx(action)


def test_its_fields_are_those_of_the_message():
    """ackermann_msgs/msg/AckermannDrive.msg, in its order."""
    assert AckermannDrive._fields == ("steering_angle", "steering_angle_velocity", "speed", "acceleration", "jerk")


@given(inside, inside, cars)
def test_there_and_back_is_the_same_action(steering, speed, car):
    assert from_ackermann(to_ackermann((steering, speed), car), car) == pytest.approx((steering, speed), abs=1e-9)


@given(inside, inside, cars)
def test_no_action_asks_for_more_than_the_car_can_or_for_reverse(steering, speed, car):
    drive = to_ackermann((steering, speed), car)
    assert abs(drive.steering_angle) <= car.max_steering_rad
    assert 0 <= drive.speed <= car.top_speed_mps
    assert math.copysign(1, drive.steering_angle) == math.copysign(1, steering)


@given(anything, anything, cars)
def test_whatever_a_message_says_an_action_is_in_range(steering_angle, speed, car):
    action = from_ackermann(AckermannDrive(steering_angle=steering_angle, speed=speed), car)
    assert all(-1 <= a <= 1 for a in action)
    if speed <= 0:
        assert action[1] == -1  # reverse is standing


@given(anything, anything, cars)
def test_a_message_within_the_cars_limits_is_followed_to_the_letter(steering_angle, speed, car):
    steering_angle = math.fmod(steering_angle, car.max_steering_rad)
    speed = math.fmod(abs(speed), car.top_speed_mps)
    again = to_ackermann(from_ackermann(AckermannDrive(steering_angle=steering_angle, speed=speed), car), car)
    assert (again.steering_angle, again.speed) == pytest.approx((steering_angle, speed), abs=1e-6)


@pytest.mark.parametrize(
    "action", [(math.nan, 0.0), (0.0, math.inf), (1.01, 0.0), (0.0, -1.01), (0.0,), (0.0, 0.0, 0.0)]
)
def test_an_action_that_is_none_makes_no_message(action):
    with pytest.raises(ValueError, match="expected steering and speed in"):
        to_ackermann(action, F1TENTH)


@pytest.mark.parametrize("drive", [AckermannDrive(steering_angle=math.nan), AckermannDrive(speed=math.inf)])
def test_a_message_that_says_no_numbers_makes_no_action(drive):
    with pytest.raises(ValueError, match="expected numbers"):
        from_ackermann(drive, F1TENTH)
