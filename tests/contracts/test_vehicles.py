"""Every vehicle keeps the promises of `deploy.vehicles.Vehicle`, whatever it is made of; hardware is faked.

A car that measures no speed only says here that it stops; tests/deploy/vehicles/test_pwm.py looks at the pulses.
"""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest

from deploy.driving.safety import Command
from deploy.vehicles import VEHICLES, Frame, Vehicle
from tests.deploy.boards import FakeBoard, FakeCapture, write_calibration

Open = Callable[[], Vehicle]


def simulated(_folder: Path) -> Vehicle:
    return resolve_name(VEHICLES["simulated"])(0, 50.0)


def pwm(folder: Path) -> Vehicle:
    calibration = write_calibration(folder)
    return resolve_name(VEHICLES["pwm"])(0, 50.0, calibration, fake_bus, lambda _: FakeCapture())


def fake_bus(_number: int) -> FakeBoard:
    return FakeBoard()


OPEN = {"simulated": simulated, "pwm": pwm}


@pytest.fixture(scope="module", params=VEHICLES)
def car(request, tmp_path_factory) -> Iterator[Vehicle]:
    with closing(OPEN[request.param](tmp_path_factory.mktemp("car"))) as car:
        yield car


@contextmanager
def driving(car: Vehicle) -> Iterator[None]:
    """The car moves, by a command that lasts; afterwards it stands again."""
    car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
    until(car, lambda frame: frame.speed_mps > 0.3)
    try:
        yield
    finally:
        car.send(Command(0.0, -1.0, time.monotonic()))
        until(car, lambda frame: frame.speed_mps < 0.05)


def until(car: Vehicle, seen: Callable[[Frame], bool]) -> Frame:
    """The first frame of which that holds; the test's own time limit is the last resort."""
    while not seen(frame := car.read()):
        select.select([], [], [], 0.005)  # cameras take some time for the next one
    return frame


def test_all_are_tried_here():
    assert OPEN.keys() == VEHICLES.keys()


def test_its_frames_are_of_the_size_that_it_says(car):
    frame = car.read()
    assert frame.image.shape == (car.spec.image_height, car.spec.image_width, 3)
    assert frame.image.dtype == np.uint8
    picture = car.picture()
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.dtype == np.uint8


def test_its_frames_are_stamped_with_the_monotonic_clock_and_never_go_back(car):
    before_s = time.monotonic() - 5.0
    moments = [car.read().captured_at_s for _ in range(20)]
    assert before_s < moments[0]
    assert moments[-1] <= time.monotonic()
    assert sorted(moments) == moments
    until(car, lambda frame: frame.captured_at_s > moments[-1])


def test_it_stands_until_it_is_commanded(car):
    assert car.read().speed_mps == pytest.approx(0.0, abs=0.05)


def test_it_drives_and_steers_left_when_it_is_told_so(car):
    with driving(car):
        car.send(Command(1.0, 1.0, time.monotonic() + 1e6))
        assert until(car, lambda frame: frame.steering_rad > 0.01).steering_rad <= car.spec.max_steering_rad + 1e-6
        assert car.read().speed_mps <= 1.05 * car.spec.top_speed_mps


def test_it_stops_on_silence(car):
    with driving(car):
        expires_at_s = time.monotonic() + 0.2
        car.send(Command(0.0, 1.0, expires_at_s))
        standing = until(car, lambda frame: frame.speed_mps < 0.05)
    assert standing.captured_at_s > expires_at_s


def test_a_command_that_has_expired_does_not_move_it(car):
    expired_at_s = time.monotonic() - 0.01
    car.send(Command(0.0, 1.0, expired_at_s))
    until(car, lambda frame: frame.captured_at_s > expired_at_s + 0.3)
    assert car.read().speed_mps == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("speed", [-1.0, -0.3, 0.123456, 1.0])
def test_it_returns_what_its_motors_really_received(car, speed):
    sent = car.send(Command(0.05, speed, time.monotonic()))
    again = car.send(Command(float(sent[0]), float(sent[1]), time.monotonic()))
    assert sent.shape == (2,)
    assert sent.dtype == np.float32
    assert np.abs(sent).max() <= 1
    assert again.tolist() == pytest.approx(sent.tolist(), abs=1e-6)  # what they received they can receive
    car.send(Command(0.0, -1.0, time.monotonic()))


@pytest.mark.parametrize("name", VEHICLES)
def test_it_stops_and_lets_go_when_it_is_closed(name, tmp_path):
    """That it leaves neither process nor socket behind the fixture of all tests sees."""
    car = OPEN[name](tmp_path)
    car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
    car.close()
    with pytest.raises((OSError, EOFError)):
        car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
