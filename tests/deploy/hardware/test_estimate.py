"""Speed and steering of a car that measures neither, by the closed form of its model."""

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.hardware.estimate import Estimate
from deploy.vehicles import VehicleSpec

CAR = VehicleSpec(64, 64, top_speed_mps=2.0, max_steering_rad=0.5, max_steering_rate_radps=1.0)
LAG_S, NOW_S = 0.4, 100.0


@pytest.fixture
def estimate():
    return Estimate(CAR, LAG_S)


def test_a_car_that_was_told_nothing_stands_straight(estimate):
    assert estimate.at(NOW_S) == (0.0, 0.0)


def test_after_its_lag_it_has_reached_63_percent_of_its_speed(estimate):
    estimate.told(0.0, 0.5, NOW_S, expires_at_s=1e9)  # 1.5 m/s
    assert estimate.at(NOW_S + LAG_S)[0] == pytest.approx(1.5 * 0.6321, abs=1e-4)
    assert estimate.at(NOW_S + 10)[0] == pytest.approx(1.5)


def test_from_the_moment_its_command_expires_it_slows_down(estimate):
    estimate.told(0.0, 1.0, NOW_S, expires_at_s=NOW_S + 8.0)  # full speed long since
    assert estimate.at(NOW_S + 8.0 + LAG_S)[0] == pytest.approx(2.0 * 0.3679, abs=1e-4)
    estimate.told(0.0, 1.0, NOW_S + 9.0, expires_at_s=NOW_S + 9.0)  # too late: it does not drive
    assert estimate.at(NOW_S + 10.0)[0] == pytest.approx(2.0 * exp(-2 / LAG_S), rel=1e-3)


def test_its_wheels_turn_at_their_rate_and_stay_though_the_command_expires(estimate):
    estimate.told(-1.0, -1.0, NOW_S, expires_at_s=NOW_S)
    assert estimate.at(NOW_S + 0.2)[1] == pytest.approx(-0.2)
    assert estimate.at(NOW_S + 5.0)[1] == pytest.approx(-0.5)
    estimate.told(0.1, -1.0, NOW_S + 5.0, expires_at_s=NOW_S + 5.0)
    assert estimate.at(NOW_S + 5.3)[1] == pytest.approx(-0.2)
    assert estimate.at(NOW_S + 5.9)[1] == pytest.approx(0.05)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 0.3)), max_size=20))
def test_being_told_the_same_twice_changes_nothing_and_it_stays_within_what_the_car_can(commands):
    once, twice, now_s = Estimate(CAR, LAG_S), Estimate(CAR, LAG_S), NOW_S
    for steering, speed, for_s in commands:
        once.told(steering, speed, now_s, now_s + 0.15)
        twice.told(steering, speed, now_s, now_s + 0.15)
        if for_s < 0.15:
            twice.told(steering, speed, now_s + for_s / 2, now_s + 0.15)
        now_s += for_s
        assert twice.at(now_s) == pytest.approx(once.at(now_s), abs=1e-9)
        speed_mps, steering_rad = once.at(now_s)
        assert 0 <= speed_mps <= 2.0
        assert abs(steering_rad) <= 0.5
