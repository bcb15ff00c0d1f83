"""What people say is heard once a cycle, hands fall silent by themselves, and modes mix as in donkeycar."""

from threading import Thread

import pytest

from deploy.driving.controls import Controls, Hands, Heard, mixed


def test_what_was_asked_for_is_heard_once_in_the_order_it_was_said():
    controls = Controls()
    controls.ask("stop")
    controls.ask("start")
    assert controls.hear(0.0) == Heard("local", ("stop", "start"), None)
    assert controls.hear(0.1) == Heard("local", (), None)


def test_a_mode_stays_until_another_is_chosen():
    controls = Controls("user")
    assert [controls.hear(t).mode for t in (0.0, 1.0)] == ["user", "user"]
    controls.choose("local_angle")
    assert controls.mode == controls.hear(2.0).mode == "local_angle"


def test_hands_must_be_said_again_and_can_be_taken_off():
    controls = Controls()
    controls.hold(0.5, -0.2, until_s=10.15)
    hands = Hands(0.5, -0.2, 10.15)
    assert [controls.hear(t).hands for t in (10.0, 10.149, 10.15, 11.0)] == [hands, hands, None, None]
    controls.hold(0.5, -0.2, until_s=20.0)
    controls.let_go()
    assert controls.hear(11.0).hands is None


def test_nothing_that_is_asked_for_from_another_thread_is_lost():
    controls, heard = Controls(), []
    thread = Thread(target=lambda: [controls.ask("start") for _ in range(2000)])
    thread.start()
    while thread.is_alive():
        heard.extend(controls.hear(0.0).asks)
    assert len([*heard, *controls.hear(0.0).asks]) == 2000


HANDS = Hands(-0.5, -0.9, 1.0)


@pytest.mark.parametrize(
    ("mode", "policy", "hands", "action"),
    [
        ("local", (0.1, 0.2), None, (0.1, 0.2)),
        ("local", (0.1, 0.2), HANDS, (0.1, 0.2)),
        ("local", None, HANDS, None),
        ("local_angle", (0.1, 0.2), HANDS, (0.1, -0.9)),
        ("local_angle", (0.1, 0.2), None, None),
        ("local_angle", None, HANDS, None),
        ("user", (0.1, 0.2), HANDS, (-0.5, -0.9)),
        ("user", None, HANDS, (-0.5, -0.9)),
        ("user", (0.1, 0.2), None, None),
    ],
)
def test_each_mode_takes_steering_and_speed_from_whoever_has_them(mode, policy, hands, action):
    assert mixed(mode, policy, hands) == action
