"""The guard lets no fault move the car for longer than the watchdog allows, nor jerk its wheels."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.safety import Command, Guard, Limits

LIMITS = Limits(max_steering_rad=0.5, max_steering_rate_radps=1.0, watchdog_s=0.15)  # ±1 takes 0.5 s


def driving_guard(speed: float = 0.5) -> Guard:
    """A guard that accepted an action at time 0."""
    guard = Guard(LIMITS, now_s=-0.1)
    guard((0.0, speed), captured_at_s=-0.02, now_s=0.0)
    return guard


def test_the_car_stands_until_the_first_valid_action():
    guard = Guard(LIMITS, now_s=10.0)
    assert guard(None, 10.1, 10.1) == Command(0.0, -1.0, 10.0)
    assert guard.state == "stopped"


def test_a_valid_action_drives_until_the_watchdog_time_is_over():
    guard = Guard(LIMITS, now_s=0.0)
    assert guard((0.1, 0.5), 0.08, 0.1) == Command(0.1, 0.5, pytest.approx(0.25))
    assert guard.state == "driving"


def test_one_missed_deadline_holds_the_last_command_without_prolonging_it():
    guard = driving_guard()
    assert guard(None, 0.1, 0.14) == Command(0.0, 0.5, pytest.approx(0.15))
    assert guard.state == "holding"


def test_silence_beyond_the_watchdog_stops_with_the_steering_held_and_the_next_action_drives_on():
    guard = Guard(LIMITS, now_s=-0.1)
    guard((0.1, 0.5), -0.02, 0.0)
    assert guard(None, 0.1, 0.15) == Command(0.1, -1.0, pytest.approx(0.15))
    assert guard.state == "stopped"
    assert guard((0.1, 0.7), 0.2, 0.22) == Command(0.1, 0.7, pytest.approx(0.37))
    assert guard.state == "driving"


def test_steering_follows_only_as_fast_as_the_wheels_turn():
    guard = driving_guard()
    assert guard((1.0, 0.5), 0.08, 0.1).steering == pytest.approx(0.2)  # 1 rad/s · 0.1 s / 0.5 rad
    assert guard((1.0, 0.5), 0.18, 0.2).steering == pytest.approx(0.4)
    assert guard((-1.0, 0.5), 0.28, 0.3).steering == pytest.approx(0.2)


@pytest.mark.parametrize("action", [(nan, 0.0), (0.0, inf), (1.01, 0.0), (0.0, -1.01), (0.0,), (0.0, 0.0, 0.0), ()])
def test_an_action_that_is_not_finite_and_in_range_counts_as_none(action):
    guard = driving_guard()
    guard(action, 0.08, 0.1)
    assert guard.state == "holding"


@pytest.mark.parametrize("captured_at_s", [-0.06, 0.11, nan])
def test_an_action_for_an_old_or_future_frame_counts_as_none(captured_at_s):
    guard = driving_guard()
    guard((0.0, 0.5), captured_at_s, 0.1)
    assert guard.state == "holding"


faults = st.sampled_from(["none", "valid", "stale", "wild", "nan"])
ticks = st.lists(st.tuples(faults, st.floats(0, 0.5), st.floats(-1, 1), st.floats(-1, 1)), max_size=40)


@given(ticks)
def test_no_sequence_of_faults_moves_the_car_beyond_the_watchdog_or_jerks_its_wheels(ticks):
    guard, now_s, last_valid_s, steering = Guard(LIMITS, 0.0), 0.0, 0.0, 0.0
    for fault, elapsed_s, steer, speed in ticks:
        now_s += elapsed_s
        action = {"none": None, "wild": (steer, 1.5), "nan": (nan, speed)}.get(fault, (steer, speed))
        command = guard(action, now_s - (1.0 if fault == "stale" else 0.01), now_s)
        last_valid_s = now_s if fault == "valid" else last_valid_s
        moving = command.speed > -1 and now_s < command.expires_at_s
        assert command.expires_at_s <= last_valid_s + 0.15
        assert not moving or now_s - last_valid_s < 0.15
        assert abs(command.steering - steering) <= 2.0 * min(elapsed_s, 0.15) + 1e-9
        assert abs(command.steering) <= 1
        assert -1 <= command.speed <= 1
        assert (guard.state == "driving") == (fault == "valid")
        steering = command.steering
