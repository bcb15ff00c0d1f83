"""The keyboard stops, starts and drives a car, and a car whose terminal is gone stops."""

import os
import pty
import sys

import pytest

from deploy.driving.controls import Controls, Hands
from deploy.seats.keyboard import Keyboard
from deploy.seats.terminal import Terminal, TerminalError

UP, DOWN, RIGHT, LEFT = b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D"


def heard(type_keys, *keys: bytes, now_s: float = 10.0):
    """What the control loop hears when these are pressed, all at once."""
    keyboard, controls = Keyboard(), Controls()
    type_keys(b"".join(keys))
    keyboard.poll(controls, now_s)
    keyboard.close()
    return controls.hear(now_s)


@pytest.mark.parametrize(("key", "ask"), [(b" ", "e_stop"), (b"x", "stop"), (b"s", "start"), (b"r", "reset")])
def test_a_key_asks_the_safety_machine(type_keys, key, ask):
    assert heard(type_keys, key).asks == (ask,)


@pytest.mark.parametrize(("key", "mode"), [(b"u", "user"), (b"a", "local_angle"), (b"l", "local"), (b"z", "local")])
def test_a_key_says_who_drives(type_keys, key, mode):
    assert heard(type_keys, key).mode == mode


def test_an_arrow_takes_over_and_drives_on_from_standing(type_keys):
    assert heard(type_keys, UP, UP, LEFT, RIGHT, RIGHT, DOWN) == heard(type_keys, RIGHT, UP)
    told = heard(type_keys, UP, UP, UP, LEFT)
    assert (told.mode, told.hands) == ("user", Hands(pytest.approx(0.1), pytest.approx(-0.7), 10.7))


def test_no_arrow_asks_for_more_than_the_car_can_do(type_keys):
    told = heard(type_keys, *[UP] * 25, *[RIGHT] * 15)
    assert (told.hands.steering, told.hands.speed) == (-1.0, 1.0)


def test_in_local_angle_arrows_set_the_speed_and_take_nothing_over(type_keys):
    told = heard(type_keys, b"a", UP)
    assert (told.mode, told.hands.speed) == ("local_angle", pytest.approx(-0.9))


def test_leaving_all_to_the_policy_forgets_where_the_hands_were(type_keys):
    assert heard(type_keys, *[UP] * 9, b"lu", UP).hands.speed == pytest.approx(-0.9)


@pytest.fixture
def keyboard(type_keys):
    keyboard = Keyboard()
    yield keyboard
    keyboard.close()


@pytest.mark.parametrize(("later_s", "speed"), [(0.69, -0.2), (0.7, -1.0), (300.0, -1.0)])
def test_whoever_has_gone_silent_begins_again_with_straight_wheels_and_a_standing_car(
    keyboard, type_keys, later_s, speed
):
    controls = Controls()
    type_keys(UP * 8 + LEFT * 3)
    keyboard.poll(controls, 10.0)
    type_keys(LEFT)
    keyboard.poll(controls, 10.0 + later_s)
    hands = controls.hear(10.0 + later_s).hands
    assert (hands.steering, hands.speed) == pytest.approx((0.4 if later_s < 0.7 else 0.1, speed))


@pytest.mark.parametrize("key", [b" ", b"x", b"s", b"r"])
def test_after_a_stop_or_a_start_hands_begin_with_straight_wheels_and_a_standing_car(type_keys, key):
    hands = heard(type_keys, UP * 8, LEFT * 3, key, LEFT).hands
    assert (hands.steering, hands.speed) == pytest.approx((0.1, -1.0))


@pytest.mark.parametrize(("chosen", "mode"), [("local", "user"), ("user", "user"), ("local_angle", "local_angle")])
def test_an_arrow_takes_over_from_the_policy_whoever_has_chosen_that_it_drives(keyboard, type_keys, chosen, mode):
    controls = Controls()
    type_keys(b"u")
    keyboard.poll(controls, 10.0)
    controls.choose(chosen)  # at the gamepad, or at the page
    type_keys(UP)
    keyboard.poll(controls, 10.1)
    assert controls.mode == mode


def test_hands_that_press_nothing_any_more_are_gone(type_keys):
    keyboard, controls = Keyboard(), Controls()
    type_keys(UP)
    keyboard.poll(controls, 10.0)
    keyboard.poll(controls, 10.6)
    assert [controls.hear(t).hands is None for t in (10.6, 10.7)] == [False, True]
    keyboard.close()


def test_a_terminal_that_is_gone_stops_the_car_once(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        keyboard, controls = Keyboard(), Controls()
        os.close(ours)
        keyboard.poll(controls, 0.0)
        keyboard.poll(controls, 0.1)
        assert controls.hear(0.1).asks == ("stop",)
        keyboard.close()


def test_without_a_terminal_there_is_no_keyboard(monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(TerminalError, match="standard input is no terminal"):
            Terminal()
