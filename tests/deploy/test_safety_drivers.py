"""Who watches a car that learns: by a script, or at a keyboard."""

import os
import pty
import socket
import sys
import termios
from collections.abc import Iterator

import pytest

from deploy.dashboard.link import Link
from deploy.dashboard.messages import Give, Press, Watched, encode
from deploy.safety_drivers import Phase, SafetyConfig, SafetyDriverError, open_driver
from deploy.safety_drivers.dashboard import DashboardDriver
from deploy.safety_drivers.keyboard import KeyboardDriver
from deploy.safety_drivers.scripted import ScriptedDriver
from tests.deploy.cars import RealCar, SimulatedCar, frame

CONFIG = SafetyConfig(driver="scripted", put_back_s=0.25, reaction_s=0.25, margin_m=0.2, patience_s=5.0)


@pytest.fixture
def car() -> SimulatedCar:
    return SimulatedCar()


@pytest.fixture
def scripted(car) -> ScriptedDriver:
    return ScriptedDriver(car, CONFIG)


# -- by a script


def test_it_takes_over_only_when_it_has_had_time_to_react(scripted):
    said = [scripted.watch(frame(t, edge_m=0.1), "driving", "train") for t in (10.0, 10.1, 10.2, 10.25)]
    assert said == [None, None, None, "takeover"]


def test_a_danger_that_passes_by_itself_is_none(scripted):
    for t in range(20):  # a touch of the margin every second cycle
        assert scripted.watch(frame(t / 10, edge_m=0.1 + 0.2 * (t % 2)), "driving", "train") is None


def test_danger_is_a_wheel_near_the_edge_or_what_the_world_calls_one(scripted):
    for changes in ({"edge_m": 0.19}, {"disengagement": "collision"}):
        scripted.watch(frame(0.0), "standing", "train")  # another episode
        scripted.watch(frame(10.0, **changes), "driving", "train")
        assert scripted.watch(frame(10.3, **changes), "driving", "train") == "takeover"
    scripted.watch(frame(0.0), "standing", "train")
    scripted.watch(frame(10.0, edge_m=0.21), "driving", "train")
    assert scripted.watch(frame(10.3, edge_m=0.21), "driving", "train") is None


def test_the_reaction_of_one_episode_is_not_owed_to_the_next(scripted):
    scripted.watch(frame(10.0, edge_m=0.0), "driving", "train")
    scripted.watch(frame(10.1), "standing", "train")
    assert scripted.watch(frame(20.0, edge_m=0.0), "driving", "train") is None


def test_who_stands_still_is_out_of_patience(scripted):
    assert scripted.watch(frame(10.0, distance_m=3.0), "driving", "train") is None
    assert scripted.watch(frame(14.9, distance_m=3.2), "driving", "train") is None
    assert scripted.watch(frame(15.0, distance_m=3.2), "driving", "train") == "takeover"


def test_who_gets_on_is_not(scripted):
    for t in range(100):
        assert scripted.watch(frame(float(t), distance_m=0.3 * t), "driving", "train") is None


def test_it_sees_the_end_of_the_route(scripted):
    assert scripted.watch(frame(1.0, finished=True), "driving", "train") == "finished"


def test_the_script_is_asked_for_line_by_line_and_then_done(car):
    config = SafetyConfig(script=("train", "undo", "test"), rounds=2)
    driver = ScriptedDriver(car, config)
    said = [driver.watch(frame(0.0), "standing", "train") for _ in range(8)]
    assert said == ["train", "undo", "test", "train", "undo", "test", "done", "done"]


@pytest.mark.parametrize(
    ("until_passed", "task", "then"), [(True, "test", "done"), (True, "train", "train"), (False, "test", "train")]
)
def test_a_test_that_drove_the_whole_route_is_the_last_if_so_wished(car, until_passed, task, then):
    driver = ScriptedDriver(car, SafetyConfig(until_passed=until_passed))
    driver.watch(frame(1.0, finished=True), "driving", task)
    assert driver.watch(frame(1.1), "standing", task) == then


def test_a_car_is_put_back_where_it_was_trained_last_and_for_a_test_at_the_start(scripted, car):
    scripted.watch(frame(1.0, distance_m=7.0), "driving", "train")
    scripted.watch(frame(2.0, distance_m=8.0), "driving", "test")
    for task in ("train", "test"):
        assert scripted.watch(frame(3.0), "placing", task) is None  # it takes a while
        assert scripted.watch(frame(3.2), "placing", task) is None
        assert scripted.watch(frame(3.25), "placing", task) == "in place"
        assert scripted.watch(frame(3.3), "waiting", task) is None
    assert car.put_back_to_m == [7.0, 0.0]


def test_after_the_whole_route_training_starts_at_its_start(scripted, car):
    scripted.watch(frame(1.0, distance_m=7.0, finished=True), "driving", "train")
    scripted.watch(frame(3.0), "placing", "train")
    scripted.watch(frame(9.0), "placing", "train")
    assert car.put_back_to_m == [0.0]


def test_a_real_car_is_not_watched_by_a_script():
    with pytest.raises(SafetyDriverError, match="needs a simulated car"):
        ScriptedDriver(RealCar(), CONFIG)


# -- at a keyboard


def test_every_key_says_what_its_letter_means_one_per_control_cycle(type_keys):
    driver = KeyboardDriver(RealCar(), SafetyConfig())
    type_keys(b"teudpf ")
    said = [driver.watch(frame(0.0, None), "standing", "train") for _ in range(8)]
    driver.close()
    assert said == ["train", "test", "undo", "done", "pause", "finished", "takeover", None]


def test_a_fist_on_the_keyboard_takes_over_and_asks_for_nothing(type_keys):
    driver = KeyboardDriver(RealCar(), SafetyConfig())
    type_keys(b"xtttd")
    said = [driver.watch(frame(0.0, None), phase, "train") for phase in ("driving", "standing", "standing")]
    driver.close()
    assert said == ["takeover", None, None]


def test_who_takes_over_by_pressing_t_again_and_again_does_not_make_the_car_drive_off(type_keys):
    now_s = 50.0
    driver = KeyboardDriver(RealCar(), SafetyConfig(), lambda: now_s)
    phase: Phase = "driving"
    for tick in range(40):  # of 0.1 s; pressed or repeating at most 0.9 s apart
        if tick % 9 == 0:
            type_keys(b"te" if tick % 2 else b"tt")
        said = driver.watch(frame(0.0, None), phase, "train")
        assert said == ("train" if tick == 0 else None)  # which takes over, and nothing more
        phase, now_s = "standing", now_s + 0.1
    now_s = 50.0 + 3.6 + 1.01  # the last of them came after 3.6 s
    type_keys(b"t")
    assert driver.watch(frame(0.0, None), phase, "train") == "train"
    driver.close()


def test_other_keys_mean_the_same_right_after_the_car_drove(type_keys):
    driver = KeyboardDriver(RealCar(), SafetyConfig(), lambda: 50.0)
    assert driver.watch(frame(0.0, None), "driving", "train") is None
    type_keys(b"tuepd")
    said = [driver.watch(frame(0.0, None), "standing", "train") for _ in range(4)]
    driver.close()
    assert said == ["undo", "pause", "done", None]


def test_a_task_asked_for_while_the_car_drove_unseen_is_ignored(type_keys):
    now_s = 50.0
    driver = KeyboardDriver(RealCar(), SafetyConfig(), lambda: now_s)
    driver.watch(frame(0.0, None), "driving", "train")
    now_s += 60.0  # the process was stopped; its session has broken the episode off before it asks again
    type_keys(b"t")
    assert driver.watch(frame(0.0, None), "standing", "train") is None
    driver.close()


def test_without_its_terminal_the_keyboard_cannot_watch(monkeypatch):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        driver = KeyboardDriver(RealCar(), SafetyConfig())
        assert driver.watch(frame(0.0, None), "driving", "train") is None
        os.close(ours)
        with pytest.raises(SafetyDriverError, match="the terminal is gone"):
            driver.watch(frame(0.0, None), "driving", "train")
        driver.close()


def test_a_person_who_asks_for_a_task_has_put_the_real_car_in_place(type_keys):
    driver = KeyboardDriver(RealCar(), SafetyConfig())
    assert driver.watch(frame(0.0, None), "placing", "train") == "in place"
    driver.close()


def test_a_simulated_car_is_put_in_place_for_the_person(type_keys, car):
    driver = KeyboardDriver(car, SafetyConfig(put_back_s=1.0))
    said = [driver.watch(frame(t), "placing", "test") for t in (5.0, 5.5, 6.0)]
    assert driver.watch(frame(7.0, finished=True), "driving", "test") == "finished"
    driver.close()
    assert said == [None, None, "in place"]
    assert car.put_back_to_m == [0.0]


def test_the_terminal_is_given_back_as_it_was(type_keys):
    before = termios.tcgetattr(sys.stdin)
    driver = KeyboardDriver(RealCar(), SafetyConfig())
    assert termios.tcgetattr(sys.stdin) != before
    driver.close()
    assert termios.tcgetattr(sys.stdin) == before


def test_without_a_terminal_there_is_no_keyboard(monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(SafetyDriverError, match="no terminal"):
            KeyboardDriver(RealCar(), SafetyConfig())


# -- at the dashboard's page


class AtThePage:
    """A safety driver there, the other end of its line, and the time."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link, self.now_s = Link(ours, "http://127.0.0.1:1/#token=t"), 50.0
        self.driver = DashboardDriver(RealCar(), SafetyConfig(), self.link, lambda: self.now_s)

    def says(self, phase: Phase, *messages) -> str | None:
        """What is heard of them in a control cycle."""
        for message in messages:
            self.theirs.send(encode(message))
        return self.driver.watch(frame(self.now_s, None), phase, "train")


@pytest.fixture
def page() -> Iterator[AtThePage]:
    page = AtThePage()
    yield page
    page.link.close()
    page.theirs.close()


WATCHED = Watched(until_s=50.5)


def test_every_button_is_an_order_and_the_red_one_takes_over(page):
    orders = ["train", "test", "undo", "done", "pause", "finished", "takeover"]
    for order in orders:
        assert page.says("standing", Give(order=order)) == order
    assert page.says("driving", WATCHED, Press(ask="e_stop")) == "takeover"


def test_a_page_that_falls_silent_while_the_car_drives_has_taken_over(page):
    assert page.says("driving", WATCHED) is None
    page.now_s = 50.49
    assert page.says("driving") is None
    page.now_s = 50.5
    assert page.says("driving") == "takeover"


def test_the_last_page_that_is_closed_takes_over_at_once(page):
    assert page.says("driving", WATCHED, Watched(until_s=0.0)) == "takeover"


@pytest.mark.parametrize("phase", ["placing", "waiting"])
def test_a_car_that_nobody_watches_does_not_set_off(page, phase):
    assert page.says(phase, Watched(until_s=0.0)) == "pause"
    assert page.says("standing") is None


def test_a_double_click_on_train_takes_over_and_does_not_make_the_car_drive_off(page):
    assert page.says("driving", WATCHED, Give(order="train"), Give(order="train")) == "train"  # which takes over
    page.now_s = 50.4
    assert page.says("standing", Give(order="train")) is None
    page.now_s = 51.41
    assert page.says("standing", Give(order="train")) == "train"


def test_a_dashboard_that_is_gone_ends_the_session(page):
    page.theirs.close()
    with pytest.raises(SafetyDriverError, match="nobody could stop the car"):
        page.says("standing")


def test_a_safety_driver_at_the_dashboard_needs_one(car):
    with pytest.raises(SafetyDriverError, match="expected --dashboard PORT"):
        open_driver(car, SafetyConfig(driver="dashboard"))
