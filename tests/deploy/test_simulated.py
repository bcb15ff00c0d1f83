"""The simulated car lives in real time and brakes by itself when its command has expired."""

import numpy as np
import pytest

from deploy.safety import Command
from deploy.vehicles.simulated import SimulatedCar
from tests.deploy.policies import SPEC

FULL_SPEED = Command(steering=0.0, speed=1.0, expires_at_s=1e9)


class Clock:
    def __init__(self):
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def car(clock):
    car = SimulatedCar(road_seed=0, length_m=50.0, clock=clock)
    yield car
    car.close()


def test_it_is_the_car_that_policies_are_trained_for(car):
    SPEC.check(car.spec)
    frame = car.read()
    assert frame.image.shape == (64, 64, 3)
    assert frame.image.dtype == np.uint8
    assert (frame.speed_mps, frame.steering_rad) == pytest.approx((0, 0), abs=1e-3)
    assert not frame.truth.finished
    assert frame.truth.disengagement is None


def test_it_stands_until_it_is_commanded(car, clock):
    clock.now_s += 3
    assert car.read().truth.distance_m == pytest.approx(0, abs=1e-2)


def test_it_drives_for_exactly_the_time_that_passes(car, clock):
    car.send(FULL_SPEED)
    clock.now_s += 3
    first = car.read()
    assert first.speed_mps == pytest.approx(2.78, abs=0.05)
    for _ in range(100):  # 2 s in steps that are no multiple of the physics' own
        clock.now_s += 0.02
        last = car.read()
    assert last.captured_at_s == clock.now_s
    assert last.truth.distance_m - first.truth.distance_m == pytest.approx(2 * 2.78, abs=0.1)


def test_it_brakes_from_the_moment_its_command_expires_though_nobody_reads(car, clock):
    car.send(FULL_SPEED)
    clock.now_s += 3
    moving = car.read()
    car.send(Command(0.0, 1.0, expires_at_s=clock.now_s + 0.15))
    clock.now_s += 5
    standing = car.read()
    braking_m = 2.78**2 / (2 * 4.0)  # v² / 2a
    way_m = standing.truth.distance_m - moving.truth.distance_m
    assert way_m == pytest.approx(2.78 * 0.15 + braking_m, abs=0.2)
    assert standing.speed_mps == pytest.approx(0, abs=0.01)


def test_a_pause_of_an_hour_is_no_hour_of_simulation(car, clock):
    car.send(Command(0.0, 1.0, expires_at_s=clock.now_s + 1.0))
    clock.now_s += 3600
    standing = car.read()
    assert standing.speed_mps == pytest.approx(0, abs=0.01)
    assert 0.5 < standing.truth.distance_m < 3
    car.send(FULL_SPEED)
    clock.now_s += 1
    assert car.read().speed_mps > 1


def test_it_tells_what_the_motors_really_got(car):
    sent = car.send(Command(steering=1.0, speed=0.5, expires_at_s=1e9))
    assert sent.tolist() == pytest.approx([0.8 * 0.1 / 0.5236, 0.5], abs=1e-3)  # one period of turning


def test_its_picture_is_large_enough_to_look_at(car):
    picture = car.picture()
    assert picture.dtype == np.uint8
    assert picture.shape[0] >= 240
    assert picture.shape[1] >= 320
    assert picture.shape[2] == 3
