"""The bytes that go to the servo board are those of its data sheet (NXP PCA9685, rev. 4), worked out by hand."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.driving.safety import Command
from deploy.hardware.calibration import Calibration, read_calibration
from deploy.hardware.motors import Motors, come_to_rest, insist
from tests.deploy.boards import CALIBRATION, FORWARD, HALF, STOP, FakeBoard, esc, servo, write_calibration

NOW_S = 100.0


def command(steering: float, speed: float, for_s: float = 0.15) -> Command:
    return Command(steering, speed, NOW_S + for_s)


class Clock:
    """In the place of `time`: only who sleeps lets it pass."""

    def __init__(self):
        self.now_s = NOW_S

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


@pytest.fixture
def board():
    return FakeBoard()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("deploy.hardware.motors.time", clock)
    return clock


@pytest.fixture
def motors(tmp_path, board):
    motors = Motors(board, read_calibration(write_calibration(tmp_path)))
    board.writes.clear()
    return motors


@pytest.mark.parametrize(
    ("frequency_hz", "prescale", "neutral"),
    [
        (60, 101, 368),  # 25 MHz / (4096 · 60 Hz) − 1 = 100.7; 1500 µs of steps of 102 / 25 MHz = 4.08 µs
        (50, 121, 307),  # 121.1; 1500 µs of 4.88 µs
    ],
)
def test_the_board_is_set_up_and_told_to_stop(tmp_path, board, frequency_hz, prescale, neutral):
    Motors(board, read_calibration(write_calibration(tmp_path, f"frequency_hz = {frequency_hz}")))
    assert board.writes == [
        b"\x00\x00",  # MODE1: awake
        b"\x00\x10",  # MODE1: asleep, else the prescaler cannot be set
        bytes([0xFE, prescale]),
        b"\x00\x00",  # MODE1: awake again
        b"\x00\xa0",  # MODE1: restart, and several registers in one write
        bytes([0x06, 0, 0, neutral & 0xFF, neutral >> 8]),  # LED0: the ESC, before anything else
        bytes([0x0A, 0, 0, neutral & 0xFF, neutral >> 8]),  # LED1: the servo
    ]


@pytest.mark.parametrize(
    ("steering", "steps"),
    [
        (0.0, 368),  # 1500 / 4.08 = 367.6
        (1.0, 466),  # 1900 / 4.08 = 465.7, left
        (-1.0, 270),  # 1100 / 4.08 = 269.6, right
        (0.5, 417),
        (-0.25, 344),  # 368 − 98 / 4 = 343.5, to even
    ],
)
def test_steering_is_the_servos_pulse(motors, board, steering, steps):
    sent = motors.obey(command(steering, -1.0), NOW_S)
    assert board.writes[0] == servo(steps)
    assert sent.tolist() == pytest.approx([(steps - 368) / 98, -1.0])


@pytest.mark.parametrize(("speed", "steps"), [(1.0, FORWARD), (0.0, HALF), (-0.9, 370)])
def test_speed_is_the_escs_pulse_and_what_is_told_is_what_was_sent(motors, board, speed, steps):
    sent = motors.obey(command(0.0, speed), NOW_S)
    assert board.writes == [servo(368), esc(steps)]
    assert sent.tolist() == pytest.approx([0.0, 2 * (steps - STOP) / (FORWARD - STOP) - 1])
    assert abs(sent[1] - speed) <= 1 / (FORWARD - STOP)  # half a step


def test_pulses_may_be_the_other_way_round(tmp_path, board):
    text = write_calibration(tmp_path).read_text()
    for one, other in (("left_us = 1900", "left_us = 1150"), ("right_us = 1100", "right_us = 1800")):
        text = text.replace(one, other)
    path = tmp_path / "other.toml"
    path.write_text(text.replace("forward_us = 1700", "forward_us = 1350"))
    motors = Motors(board, read_calibration(path))
    sent = motors.obey(command(1.0, 1.0), NOW_S)
    assert board.writes[-2:] == [servo(282), esc(331)]  # 1150 and 1350 µs
    assert sent.tolist() == [1.0, 1.0]


def test_it_stops_when_its_command_expires(motors, board):
    motors.obey(command(0.0, 1.0, for_s=0.15), NOW_S)
    assert motors.due_s == NOW_S + 0.15
    board.writes.clear()
    motors.expire(NOW_S + 0.15)
    assert board.writes == [esc(STOP)]
    assert motors.due_s is None


def test_a_command_that_comes_too_late_steers_but_does_not_drive(motors, board):
    sent = motors.obey(command(1.0, 1.0, for_s=0.0), NOW_S)
    assert board.writes == [servo(466), esc(STOP)]
    assert sent.tolist() == [1.0, -1.0]


def test_standing_still_is_neutral_to_the_step(motors, board):
    motors.obey(command(0.0, 0.5), NOW_S)
    board.writes.clear()
    assert motors.obey(command(0.0, -1.0), NOW_S).tolist() == [0.0, -1.0]
    assert board.writes == [servo(368), esc(STOP)]


def test_an_esc_that_can_brakes_for_a_while_and_is_told_neutral_then(tmp_path, board):
    motors = Motors(board, read_calibration(write_calibration(tmp_path, "brake_us = 1300\nbrake_s = 0.4")))
    motors.obey(command(0.0, 1.0, for_s=0.15), NOW_S)
    board.writes.clear()
    motors.expire(NOW_S + 0.15)
    assert board.writes == [esc(319)]  # 1300 / 4.08 = 318.6
    assert motors.due_s == pytest.approx(NOW_S + 0.55)
    motors.obey(command(0.0, -1.0, for_s=9.0), NOW_S + 0.3)  # told to stand, it brakes on
    assert board.writes == [esc(319), servo(368)]
    motors.expire(NOW_S + 0.55)
    assert board.writes[2:] == [esc(STOP)]
    assert motors.due_s is None
    motors.obey(command(0.0, -1.0, for_s=9.0), NOW_S + 0.6)  # and does not brake again while it stands: that is reverse
    assert board.writes[3:] == [servo(368), esc(STOP)]


@pytest.mark.parametrize(("for_s", "lasts_s"), [(0.15, 0.15), (0.5, 0.5), (0.51, 0.5), (1e6, 0.5), (float("inf"), 0.5)])
def test_a_command_counts_for_half_a_second_at_most_whatever_the_loop_says(motors, for_s, lasts_s):
    motors.obey(command(0.0, 1.0, for_s), NOW_S)
    assert motors.due_s == pytest.approx(NOW_S + lasts_s)


moves = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-0.1, 2.0), st.floats(0, 1.0))


@given(st.lists(moves, max_size=12), st.booleans())
def test_whatever_it_is_told_it_never_drives_beyond_a_command_and_stands_in_the_end(commands, brakes):
    calibration = msgspec.toml.decode(CALIBRATION + "brake_us = 1300\n" * brakes, type=Calibration)
    board, now_s, expires_at_s = FakeBoard(), NOW_S, NOW_S
    motors = Motors(board, calibration)
    for steering, speed, for_s, wait_s in [*commands, (0.0, -1.0, 0.0, 10.0)]:
        expires_at_s, until_s = now_s + min(for_s, 0.5), now_s + wait_s
        motors.obey(Command(steering, speed, now_s + for_s), now_s)
        assert board.pulse(0) <= STOP or now_s < expires_at_s
        while motors.due_s is not None and motors.due_s <= until_s:
            now_s = max(now_s, motors.due_s)
            motors.expire(now_s)
            assert board.pulse(0) <= STOP
        now_s = until_s
    assert (board.pulse(0), motors.due_s) == (STOP, None)
    assert 270 <= board.pulse(1) <= 466


def test_a_board_that_does_not_acknowledge_is_told_to_stop_until_it_does(motors, board):
    motors.obey(command(0.0, 1.0), NOW_S)
    board.writes.clear()
    board.fails = 3
    assert insist(motors.stop)
    assert board.writes == [esc(STOP)]


def test_who_insists_in_vain_for_5_s_says_so(motors, board, clock):
    board.fails = 10**9
    assert not insist(motors.stop)
    assert clock.now_s == pytest.approx(NOW_S + 5.0, abs=0.02)


# -- coming to rest, whatever is the end of the process

BRAKE = 319  # 1300 / 4.08 = 318.6


@pytest.fixture
def braking_motors(tmp_path, board):
    motors = Motors(board, read_calibration(write_calibration(tmp_path, "brake_us = 1300\nbrake_s = 0.4")))
    motors.obey(command(0.0, 1.0), NOW_S)
    board.writes.clear()
    return motors


@pytest.mark.parametrize("fails", [0, 3])  # of a wire that is loose for a moment
def test_a_car_that_drives_comes_to_rest_by_braking_for_all_of_its_time(braking_motors, board, clock, fails):
    board.fails = fails
    assert come_to_rest(braking_motors)
    assert board.writes == [esc(BRAKE), esc(STOP)]
    assert clock.now_s == pytest.approx(NOW_S + fails * 0.01 + 0.4)


def test_a_braking_under_way_is_not_cut_short_nor_begun_again(braking_motors, board, clock):
    braking_motors.expire(NOW_S)
    clock.now_s += 0.1
    assert come_to_rest(braking_motors)
    assert board.writes == [esc(BRAKE), esc(STOP)]
    assert clock.now_s == pytest.approx(NOW_S + 0.4)


def test_a_car_that_stands_is_told_neutral_and_not_to_brake_which_could_be_reverse(braking_motors, board, clock):
    braking_motors.expire(NOW_S)
    braking_motors.expire(NOW_S + 0.4)
    board.writes.clear()
    assert come_to_rest(braking_motors)
    assert (board.writes, clock.now_s) == ([esc(STOP)], NOW_S)


def test_a_car_whose_board_is_gone_does_not_count_as_at_rest(braking_motors, board, clock):
    board.fails = 10**9
    assert not come_to_rest(braking_motors)
    assert board.writes == []


def test_a_board_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="No I2C device at address: 0x40"):
        Motors(FakeBoard(address=0x41), read_calibration(write_calibration(tmp_path)))
