"""A gamepad drives while its button is held, and stops the car when it is let go or gone."""

import os
import pty
import select
import struct
import tty

import pytest

from deploy.driving.controls import Controls, Hands
from deploy.seats.gamepad import HOLD_S, Gamepad, GamepadError

NOW_S = 100.0
# struct js_event of <linux/joystick.h>: u32 time, s16 value, u8 type (1 button, 2 axis, 0x80 initial), u8 number
A, B, X, Y, LB, RB, VIEW, MENU = range(8)
STICK, TRIGGER = 0, 5


def button(number: int, down: bool, kind: int = 0x01) -> bytes:
    return struct.pack("<IhBB", 1234, down, kind, number)


def axis(number: int, value: int, kind: int = 0x02) -> bytes:
    return struct.pack("<IhBB", 1234, value, kind, number)


class Pad:
    """A pad, and the stream that it is read from."""

    def __init__(self, path, first: bytes = b""):
        os.mkfifo(path)
        self.device = os.open(path, os.O_RDWR)
        self.send(first)
        self.gamepad, self.controls = Gamepad(path), Controls()

    def send(self, *events: bytes) -> None:
        os.write(self.device, b"".join(events))

    def hear(self, *events: bytes, now_s: float = NOW_S):
        self.send(*events)
        self.gamepad.poll(self.controls, now_s)
        return self.controls.hear(now_s)


@pytest.fixture
def pad(tmp_path):
    pad = Pad(tmp_path / "js0", first=axis(STICK, 0, 0x82) + axis(TRIGGER, -32767, 0x82) + button(RB, False, 0x81))
    yield pad
    pad.gamepad.close()
    os.close(pad.device)


@pytest.mark.parametrize(("number", "ask"), [(A, "start"), (B, "e_stop"), (X, "stop"), (Y, "reset")])
def test_its_buttons_ask_once_when_they_are_pressed(pad, number, ask):
    assert pad.hear(button(number, True)).asks == (ask,)
    assert pad.hear().asks == ()
    assert pad.hear(button(number, False)).asks == ()
    assert pad.hear(button(number, True)).asks == (ask,)


@pytest.mark.parametrize(("number", "mode"), [(VIEW, "user"), (LB, "local_angle"), (MENU, "local")])
def test_its_buttons_choose_who_drives(pad, number, mode):
    assert pad.hear(button(number, True)).mode == mode


def test_left_is_left_and_the_trigger_is_the_speed(pad):
    heard = pad.hear(button(RB, True), axis(STICK, -32767), axis(TRIGGER, 0))
    assert heard.hands == Hands(1.0, 0.0, NOW_S + HOLD_S)
    heard = pad.hear(axis(STICK, 16384), axis(TRIGGER, 32767))
    assert (heard.hands.steering, heard.hands.speed) == pytest.approx((-0.5, 1.0), abs=1e-3)
    heard = pad.hear(axis(STICK, -32768), axis(TRIGGER, -32767))
    assert (heard.hands.steering, heard.hands.speed) == (1.0, -1.0)


def test_it_drives_only_while_the_button_for_the_hands_is_held(pad):
    assert pad.hear(axis(STICK, -32767), axis(TRIGGER, 32767)).hands is None
    assert pad.hear(button(RB, True)).hands.speed == 1.0
    assert pad.hear(now_s=NOW_S + 60).hands.speed == 1.0  # nothing moves, nothing is sent, the hands are still on
    assert pad.hear(button(RB, False), axis(TRIGGER, 32000)).hands is None


def test_hands_that_are_not_polled_any_more_are_off_in_time(pad):
    pad.hear(button(RB, True), axis(TRIGGER, 32767))
    assert pad.controls.hear(NOW_S + HOLD_S).hands is None


def test_a_trigger_that_was_never_seen_released_is_none(tmp_path):
    pad = Pad(tmp_path / "js1", first=axis(TRIGGER, 0, 0x82))  # so do some drivers begin
    assert pad.hear(button(RB, True)).hands.speed == -1.0
    assert pad.hear(axis(TRIGGER, 32767)).hands.speed == -1.0
    pad.hear(axis(TRIGGER, -32767))
    assert pad.hear(axis(TRIGGER, 32767)).hands.speed == 1.0
    pad.gamepad.close()
    os.close(pad.device)


def test_what_was_pressed_before_it_was_opened_says_nothing(tmp_path):
    first = button(A, True, 0x81) + button(RB, True, 0x81) + axis(TRIGGER, -32767, 0x82)
    pad = Pad(tmp_path / "js1", first)
    heard = pad.hear(axis(TRIGGER, 32767))
    assert (heard.asks, heard.hands) == ((), None)
    assert pad.hear(button(RB, False), button(RB, True)).hands.speed == 1.0
    pad.gamepad.close()
    os.close(pad.device)


def test_events_that_were_lost_are_made_up_for_by_the_states_that_the_kernel_tells_again(pad):
    pad.hear(button(RB, True), axis(TRIGGER, 32767))
    again = button(B, True, 0x81) + button(RB, False, 0x81)  # joydev does so when its buffer has run over
    heard = pad.hear(again)
    assert (heard.asks, heard.hands) == (("e_stop",), None)


def test_more_than_the_kernel_keeps_is_read_in_one_poll(pad):
    heard = pad.hear(button(RB, True), *[axis(STICK, -value) for value in range(200)])
    assert heard.hands.steering == pytest.approx(199 / 32767)


def test_a_pad_whose_stream_ends_is_noticed_at_once_and_stops_the_car(tmp_path):
    pad = Pad(tmp_path / "js1", first=axis(TRIGGER, -32767, 0x82))
    assert pad.hear(button(RB, True), axis(TRIGGER, 32767)).hands.speed == 1.0
    os.close(pad.device)
    assert select.select([pad.gamepad], [], [], 0)[0]
    pad.gamepad.poll(pad.controls, NOW_S)
    heard = pad.controls.hear(NOW_S)
    assert (heard.hands, heard.asks, pad.gamepad.lost) == (None, ("stop",), True)
    pad.gamepad.poll(pad.controls, NOW_S)
    assert pad.controls.hear(NOW_S).asks == ()  # it is said once
    pad.gamepad.close()


def test_a_device_that_fails_is_noticed_at_once_and_stops_the_car():
    """A pseudo-terminal whose other end is closed fails with EIO, as a pad that is pulled out does with ENODEV."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    gamepad, controls = Gamepad(os.ttyname(theirs)), Controls()
    os.write(ours, button(RB, True) + axis(TRIGGER, -32767))
    gamepad.poll(controls, NOW_S)
    assert controls.hear(NOW_S).hands.speed == -1.0
    os.close(ours)
    gamepad.poll(controls, NOW_S)
    heard = controls.hear(NOW_S)
    assert (heard.hands, heard.asks, gamepad.lost) == (None, ("stop",), True)
    gamepad.close()
    os.close(theirs)


def test_a_pad_that_is_not_there_is_said_in_one_line(tmp_path):
    with pytest.raises(
        GamepadError, match=r"js9 cannot be opened \(No such file or directory\); expected one like js0"
    ):
        Gamepad(tmp_path / "js9")
