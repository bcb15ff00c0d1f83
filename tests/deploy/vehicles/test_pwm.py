"""A car on a servo board stops in hardware's own terms, a pulse, however its control loop dies."""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from deploy.driving.safety import Command
from deploy.realtime import realtime
from deploy.vehicles import VehicleError
from deploy.vehicles.pwm import PwmCar
from tests.deploy.boards import FORWARD, HALF, STOP, FakeCapture, LooseBoard, PipedBoard, esc, servo, write_calibration

SOON_S = 30.0  # more than anything here takes, however slow the machine
LOOP = """
import sys, time
from functools import partial
from pathlib import Path
from deploy.driving.safety import Command
from deploy.vehicles.pwm import PwmCar
from tests.deploy.boards import FakeCapture, PipedBoard

if __name__ == "__main__":
    calibration, fifo, for_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    car = PwmCar(0, 0.0, calibration, partial(PipedBoard, fifo), lambda _: FakeCapture())
    print(car._process.pid, flush=True)
    expires_at_s = time.monotonic() + for_s
    car.send(Command(0.0, 1.0, expires_at_s))
    print(expires_at_s, flush=True)
    time.sleep(1e6)
"""


class Listener:
    """Hears every write to the board, of whatever process."""

    def __init__(self, folder: Path):
        self.path = folder / "i2c"
        os.mkfifo(self.path)
        self._end = os.open(self.path, os.O_RDWR)  # ours too, so that it never comes to its end
        self._rest = b""
        self.heard: list[tuple[float, int, bytes]] = []  # moment, process, bytes

    def until(self, data: bytes) -> tuple[float, int, bytes]:
        """The next write of these bytes."""
        while not (found := [write for write in self.heard if write[2] == data]):
            assert select.select([self._end], [], [], SOON_S)[0], f"{data.hex()} was not written: {self.heard}"
            *lines, self._rest = (self._rest + os.read(self._end, 4096)).split(b"\n")
            for line in lines:
                at_s, process, written = line.split()
                self.heard.append((float(at_s), int(process), bytes.fromhex(written.decode())))
        self.heard = self.heard[self.heard.index(found[0]) + 1 :]
        return found[0]

    def close(self) -> None:
        os.close(self._end)


@pytest.fixture
def bus(tmp_path):
    bus = Listener(tmp_path)
    yield bus
    bus.close()


@pytest.fixture
def car(tmp_path, bus):
    car = PwmCar(0, 0.0, write_calibration(tmp_path), partial(PipedBoard, bus.path), lambda _: FakeCapture())
    yield car
    car.close()


def test_it_drives_stops_on_silence_and_when_it_is_closed(car, bus):
    bus.until(servo(STOP))  # both at rest
    sent = [1.0, -1.0]
    while sent[1] == -1.0:  # on a machine that stood still meanwhile the command comes too late
        expires_at_s = time.monotonic() + 0.3
        sent = car.send(Command(1.0, 0.0, expires_at_s)).tolist()
    assert sent == pytest.approx([1.0, 2 * 24 / 49 - 1])
    bus.until(servo(466))
    bus.until(esc(HALF))
    stopped_at_s, process, _ = bus.until(esc(STOP))
    assert stopped_at_s >= expires_at_s
    assert process != os.getpid()
    car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
    bus.until(esc(FORWARD))
    car._pipe.close()
    bus.until(esc(STOP))


def test_its_frames_are_the_cameras_with_an_estimate_of_speed(car):
    assert (car.spec.image_height, car.spec.top_speed_mps) == (8, 2.0)
    first = car.read()
    assert first.image.shape == (8, 8, 3)
    assert first.image[0, 0, :2].tolist() == [100, 100]  # red and green: the blue of OpenCV's BGR came last
    assert (first.speed_mps, first.truth) == (0.0, None)
    car.send(Command(1.0, 1.0, time.monotonic() + 1e6))
    frame = car.read()
    while frame.speed_mps < 0.1:
        frame = car.read()
    assert frame.captured_at_s > first.captured_at_s
    assert frame.steering_rad > 0
    assert car.picture().shape == (12, 16, 3)


def test_its_estimate_knows_that_a_command_counts_for_half_a_second_at_most(car):
    took_s = 1.0
    while took_s > 0.1:  # until the machine has not stood still meanwhile
        sent_at_s = time.monotonic()
        car.send(Command(0.0, 1.0, sent_at_s + 1e6))
        took_s = time.monotonic() - sent_at_s
    fastest_mps, _ = car._estimate.at(sent_at_s + 0.6)
    assert car._estimate.at(sent_at_s + 5.0)[0] < 0.01 < 1.0 < fastest_mps  # 2 m/s · (1 − exp(−0.5 / 0.4)) = 1.43


def test_its_motors_process_comes_before_a_loop_that_spins(car):
    with realtime() as denied:  # as a loop asks for it
        ours = os.sched_getparam(0).sched_priority
        assert any("SCHED_FIFO" in what for what in denied) or os.sched_getparam(car._process.pid).sched_priority > ours


def test_a_command_that_is_no_number_is_refused(car):
    with pytest.raises(ValueError, match="expected two numbers"):
        car.send(Command(float("nan"), 0.0, 1e9))


def test_if_the_motors_process_is_killed_the_car_is_stopped_from_here(car, bus):
    car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
    bus.until(esc(FORWARD))
    os.kill(car._process.pid, signal.SIGKILL)
    car._process.join()
    with pytest.raises(VehicleError, match="the car was stopped in its stead"):
        car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
    assert bus.until(esc(STOP))[1] == os.getpid()


def test_if_the_car_cannot_be_stopped_from_here_either_that_is_said(tmp_path, bus, monkeypatch):
    monkeypatch.setattr("deploy.hardware.motors.INSIST_S", 0.05)
    loose = tmp_path / "loose"
    board = partial(LooseBoard, bus.path, loose)
    with closing(PwmCar(0, 0.0, write_calibration(tmp_path), board, lambda _: FakeCapture())) as car:
        os.kill(car._process.pid, signal.SIGKILL)
        car._process.join()
        loose.touch()
        with pytest.raises(VehicleError, match="the car could NOT be stopped; cut its power"):
            car.send(Command(0.0, 1.0, time.monotonic() + 1e6))


@pytest.mark.parametrize("end", ["SIGTERM", "closed"])
def test_whatever_ends_the_motors_process_it_brakes_first_and_is_not_interrupted_at_that(tmp_path, bus, end):
    calibration = write_calibration(tmp_path, "brake_us = 1300\nbrake_s = 0.4")
    with closing(PwmCar(0, 0.0, calibration, partial(PipedBoard, bus.path), lambda _: FakeCapture())) as car:
        bus.until(servo(STOP))
        car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
        bus.until(esc(FORWARD))
        if end == "SIGTERM":
            os.kill(car._process.pid, signal.SIGTERM)
        else:
            car._pipe.close()
        braked_at_s, *_ = bus.until(esc(319))  # 1300 / 4.08 = 318.6
        os.kill(car._process.pid, signal.SIGTERM)
        stopped_at_s, *_ = bus.until(esc(STOP))
    assert stopped_at_s - braked_at_s > 0.35


def test_the_motors_process_stops_the_car_when_it_is_told_to_end(car, bus):
    car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
    bus.until(esc(FORWARD))
    motors = car._process.pid
    os.kill(motors, signal.SIGTERM)
    assert bus.until(esc(STOP))[1] == motors


def test_a_wire_that_comes_loose_ends_the_drive_and_the_car_is_stopped_when_it_holds_again(tmp_path, bus):
    loose = tmp_path / "loose"
    board = partial(LooseBoard, bus.path, loose)
    car = PwmCar(0, 0.0, write_calibration(tmp_path), board, lambda _: FakeCapture())
    try:
        car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
        bus.until(esc(FORWARD))
        loose.touch()
        with pytest.raises(VehicleError, match=r"does not answer any more: .*Remote I/O error"):
            car.send(Command(0.0, 1.0, time.monotonic() + 1e6))
        loose.unlink()
        bus.until(esc(STOP))
    finally:
        car.close()


def test_a_camera_that_is_pulled_out_ends_the_drive(tmp_path, bus):
    capture = FakeCapture(left=3)
    car = PwmCar(0, 0.0, write_calibration(tmp_path), partial(PipedBoard, bus.path), lambda _: capture)
    try:
        car._webcam._thread.join()
        with pytest.raises(VehicleError, match="the camera gives no more pictures"):
            car.read()
    finally:
        car.close()
    assert capture.released


def test_a_camera_that_is_not_there_is_told_before_the_motors_are_touched(tmp_path):
    with pytest.raises(VehicleError, match="the camera gives no picture"):
        PwmCar(0, 0.0, write_calibration(tmp_path), open_camera=lambda _: FakeCapture(left=0))


def test_a_bus_that_is_not_there_is_told_in_one_line(tmp_path):
    calibration = write_calibration(tmp_path, "i2c_bus = 977")
    with pytest.raises(VehicleError, match="address 0x40 of I2C bus 977 does not answer: /dev/i2c-977 is not there"):
        PwmCar(0, 0.0, calibration, open_camera=lambda _: FakeCapture())


# -- with the loop in a process of its own, which dies


@pytest.mark.parametrize(
    ("number", "group", "for_s"),
    [
        pytest.param(signal.SIGKILL, False, 1e6, id="kill -9"),
        pytest.param(signal.SIGSTOP, True, 0.45, id="stopped with all of its terminal's processes"),
        pytest.param(signal.SIGHUP, True, 1e6, id="its terminal is closed"),
    ],
)
def test_the_stop_pulse_is_written_when_the_loop_dies_or_hangs(tmp_path, bus, number, group, for_s):
    arguments = [write_calibration(tmp_path), bus.path, str(for_s)]
    with subprocess.Popen(
        [sys.executable, "-c", LOOP, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as loop:
        motors = os.pidfd_open(int(loop.stdout.readline()))
        expires_at_s = float(loop.stdout.readline())
        bus.until(esc(FORWARD))
        (os.killpg if group else os.kill)(loop.pid, number)
        stopped_at_s, *_ = bus.until(esc(STOP))
        loop.kill()  # as one that is only stopped would be waited for
        if number == signal.SIGSTOP:
            os.killpg(loop.pid, signal.SIGCONT)  # what Python has started beside it ends by itself, if it may run
        assert number != signal.SIGSTOP or stopped_at_s >= expires_at_s
        assert select.select([motors], [], [], SOON_S)[0], "the motors' process lives on"
        os.close(motors)


def test_what_it_reads_is_not_shared_between_frames(car):
    first = car.read()
    before = first.image.copy()
    while car.read().captured_at_s == first.captured_at_s:
        pass
    assert np.array_equal(first.image, before)
