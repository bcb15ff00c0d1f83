"""The simulated car lives in real time and brakes by itself when its command has expired."""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest

from deploy.driving.safety import Command
from deploy.vehicles import VEHICLES, CarConfig, VehicleError, open_vehicle
from deploy.vehicles.simulated import RealTimeWorld, SimulatedCar
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
    car = RealTimeWorld(road_seed=0, length_m=50.0, clock=clock)
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


def test_it_is_put_back_at_rest_and_forgets_its_command(car, clock):
    car.send(Command(steering=1.0, speed=1.0, expires_at_s=1e9))
    clock.now_s += 3
    car.put_back(20.0)
    frame = car.read()
    assert frame.truth.distance_m == pytest.approx(20.0, abs=0.01)
    assert frame.truth.lateral_offset_m == pytest.approx(0.0, abs=0.01)
    assert (frame.speed_mps, frame.steering_rad) == pytest.approx((0, 0), abs=1e-3)
    clock.now_s += 3
    assert car.read().truth.distance_m == pytest.approx(20.0, abs=0.01)


def test_it_knows_how_far_its_wheels_are_inside_the_lane(car):
    truth = car.read().truth
    assert truth.edge_m > 0.5
    assert truth.disengagement is None


def test_its_picture_is_large_enough_to_look_at(car):
    picture = car.picture()
    assert picture.dtype == np.uint8
    assert picture.shape[0] >= 240
    assert picture.shape[1] >= 320
    assert picture.shape[2] == 3


# -- late


def late_car(clock: Clock, **delays: float) -> RealTimeWorld:
    return RealTimeWorld(road_seed=0, length_m=50.0, clock=clock, **delays)


def test_a_late_frame_is_of_the_moment_that_it_is_stamped_with(clock):
    with closing(late_car(clock, sensor_delay_s=0.19)) as late, closing(late_car(clock)) as prompt:
        began_s = clock.now_s
        for car in (late, prompt):
            car.send(FULL_SPEED)
        clock.now_s = began_s + 1.001
        seen = prompt.read()
        clock.now_s = began_s + 1.201
        frame = late.read()
    assert frame.captured_at_s == pytest.approx(began_s + 1.0, abs=1e-9)
    assert frame.speed_mps == pytest.approx(1.5 * 1.0, abs=0.06)  # a = 1.5 m/s²; after 1.2 s it would be 1.8
    assert frame.speed_mps == pytest.approx(seen.speed_mps, abs=0.01)
    assert frame.truth.distance_m == pytest.approx(seen.truth.distance_m, abs=0.01)
    assert np.abs(frame.image.astype(int) - seen.image).mean() < 1


def test_late_frames_are_as_old_as_said_and_never_go_back(clock):
    with closing(late_car(clock, sensor_delay_s=0.13)) as car:
        car.send(FULL_SPEED)
        clock.now_s += 1.0
        moments = [car.read().captured_at_s]
        for _ in range(50):
            clock.now_s += 0.017
            moments.append(car.read().captured_at_s)
            assert 0.13 - 1e-9 <= clock.now_s - moments[-1] < 0.13 + 2 / 30
    assert sorted(moments) == moments


def test_before_the_first_frame_has_come_the_one_of_the_start_is_seen(clock):
    with closing(late_car(clock, sensor_delay_s=0.5)) as car:
        began_s = clock.now_s
        clock.now_s += 0.4
        assert car.read().captured_at_s == began_s


def test_a_late_command_acts_late_and_so_does_its_expiry(clock):
    with closing(late_car(clock, actuator_delay_s=0.5)) as late, closing(late_car(clock)) as prompt:
        began_s = clock.now_s
        way_m = {late: 0.0, prompt: 0.0}
        for car in (late, prompt):
            car.send(Command(0.0, 1.0, expires_at_s=began_s + 1.0))
        clock.now_s = began_s + 0.5
        assert late.read().truth.distance_m == pytest.approx(0.0, abs=1e-3)
        assert prompt.read().truth.distance_m == pytest.approx(1.5 * 0.5**2 / 2, abs=0.05)
        clock.now_s = began_s + 5.0
        way_m = {car: car.read().truth.distance_m for car in (late, prompt)}
    assert way_m[late] == pytest.approx(way_m[prompt], abs=0.06)


def test_a_late_car_tells_what_its_motors_do_now(clock):
    with closing(late_car(clock, actuator_delay_s=0.15)) as car:
        sent = []
        for speed in (0.1, 0.2, 0.3, 0.4):
            sent.append(car.send(Command(0.0, speed, expires_at_s=1e9)).tolist()[1])
            clock.now_s += 0.1
    assert sent == pytest.approx([-1.0, -1.0, 0.1, 0.2])


def test_a_car_that_is_put_back_forgets_what_was_on_its_way(clock):
    with closing(late_car(clock, sensor_delay_s=0.2, actuator_delay_s=0.2)) as car:
        car.send(FULL_SPEED)
        clock.now_s += 0.1
        car.put_back(20.0)
        put_back_at_s = clock.now_s
        assert car.read().captured_at_s == put_back_at_s
        clock.now_s += 3
        frame = car.read()
    assert frame.truth.distance_m == pytest.approx(20.0, abs=0.01)


def test_what_a_vehicle_cannot_do_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(VEHICLES, "real", "tests.deploy.cars:RealCar")
    with pytest.raises(VehicleError, match=r"^vehicle real has no sensor_delay_s; expected the default, 0\.0$"):
        open_vehicle("real", 0, 10.0, config=CarConfig(sensor_delay_s=0.1))
    assert open_vehicle("real", 0, 10.0, config=CarConfig()).length_m == 10.0
    with pytest.raises(VehicleError, match=r"^actuator_delay_s is -0\.1; expected a time of at least 0$"):
        open_vehicle("simulated", 0, 10.0, config=CarConfig(actuator_delay_s=-0.1))


# -- in a process of its own


@pytest.fixture
def distant_car():
    car = SimulatedCar(road_seed=0, length_m=50.0)
    yield car
    car.close()


def test_a_car_in_its_own_process_answers_as_one_at_hand(distant_car, car):
    assert distant_car.spec == car.spec
    here, there = car.read(), distant_car.read()
    assert np.array_equal(there.image, here.image)
    *measured, disengagement, finished, edge_m = vars(there.truth).values()
    *expected, same, also, edge_here_m = vars(here.truth).values()
    assert measured == pytest.approx(expected, abs=1e-6)  # standing still, one has been simulated for longer
    assert (disengagement, finished) == (same, also)
    assert edge_m == pytest.approx(edge_here_m, abs=1e-6)
    assert there.captured_at_s == pytest.approx(time.monotonic(), abs=5.0)  # one clock for all processes
    assert np.array_equal(distant_car.picture(), car.picture())


def test_its_delays_reach_its_own_process():
    car = open_vehicle("simulated", 0, 50.0, 20.0, CarConfig(sensor_delay_s=4.0, actuator_delay_s=2.0))
    try:
        began_s = time.monotonic() * 20
        assert car.send(FULL_SPEED).tolist() == [0.0, -1.0]
        frame = car.read()
        while frame.truth.distance_m < 1.0:
            frame = car.read()
        seen_at_s = time.monotonic() * 20
        assert frame.captured_at_s - began_s > 2.0 + 1.1  # 1 m at 1.5 m/s² takes 1.15 s
        assert seen_at_s - frame.captured_at_s >= 4.0
    finally:
        car.close()


def test_its_time_may_pass_faster_than_ours():
    car = SimulatedCar(road_seed=0, length_m=50.0, speed=20.0)
    try:
        now_s = car.read().captured_at_s
        assert now_s / 20 == pytest.approx(time.monotonic(), abs=5.0)
        car.send(Command(0.0, 1.0, expires_at_s=now_s + 1e9))
        began_s, frame = time.monotonic(), car.read()
        while frame.truth.distance_m < 5.0:
            frame = car.read()
        took_s = frame.captured_at_s - now_s
        assert took_s > 2.0  # as its motor is no stronger than in our time
        assert time.monotonic() - began_s < took_s
    finally:
        car.close()


def test_it_is_put_back_across_processes(distant_car):
    distant_car.put_back(12.5)
    assert distant_car.read().truth.distance_m == pytest.approx(12.5, abs=0.01)


def test_it_drives_on_and_brakes_while_nobody_asks(distant_car):
    distant_car.send(Command(0.0, 1.0, expires_at_s=time.monotonic() + 1.0))
    moved_m, moving = 0.0, True
    while moving or moved_m < 0.01:
        frame = distant_car.read()
        moving, moved_m = frame.speed_mps > 0.01, frame.truth.distance_m
    braked_after_m = 0.5 * 1.5 * 1.0**2 + 1.5**2 / (2 * 4.0)  # a second at 1.5 m/s², then 4 m/s²
    assert moved_m == pytest.approx(braked_after_m, rel=0.2)


def test_it_ends_when_the_control_loop_is_killed():
    program = (
        "from deploy.vehicles.simulated import SimulatedCar; import time\n"
        "if __name__ == '__main__':\n"
        "    car = SimulatedCar(0, 50.0); print(car._process.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as loop:
        car = next(int(line) for line in loop.stdout if line.strip().isdigit())
        gone = os.pidfd_open(car)
        loop.send_signal(signal.SIGKILL)
        assert select.select([gone], [], [], 30.0)[0], "the car lives on"
        os.close(gone)
