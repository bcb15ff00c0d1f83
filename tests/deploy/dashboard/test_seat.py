"""The control loop's end: what is shown of a drive, what is heard, and that neither ever waits."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from deploy.dashboard.link import Link
from deploy.dashboard.messages import Choose, Held, LetGo, Picture, Press, encode, picture, told
from deploy.dashboard.seat import DashboardSeat
from deploy.driving.controls import Controls, Hands
from deploy.driving.loop import Tick
from tests.deploy.cars import frame
from tests.deploy.entries import entry


@dataclass
class Wire:
    """A seat, the other end of its line, and the time."""

    seat: DashboardSeat
    link: Link
    theirs: socket.socket
    now_s: float = 50.0

    def shown(self) -> list:
        """What has arrived by now."""
        found = []
        while True:
            try:
                found.append(told.decode(self.theirs.recv(1 << 18)))
            except BlockingIOError:
                return found

    def say(self, *messages) -> None:
        for message in messages:
            self.theirs.send(encode(message))


@pytest.fixture
def wire() -> Iterator[Wire]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    link = Link(ours, "http://127.0.0.1:1/#token=t")
    wire = Wire(DashboardSeat(link, lambda: wire.now_s), link, theirs)
    yield wire
    link.close()
    theirs.close()


def tick(number: int, **changes) -> Tick:
    return Tick(entry(number, **changes), frame(0.1 * number))


def test_what_is_shown_at_20_hz_counts_every_cycle_of_100_hz(wire):
    for number in range(10):
        missed = number in (2, 7)
        changes = {"round_trip_ms": None, "inference_ms": None} if missed else {"round_trip_ms": float(number)}
        wire.seat.show(tick(number, **changes))
        wire.now_s += 0.01
    cycles = wire.shown()
    assert [(cycle.cycles, cycle.missed) for cycle in cycles] == [(1, 0), (6, 1)]
    assert cycles[1].round_trips_ms == [1.0, 3.0, 4.0, 5.0]


def test_a_process_that_does_not_listen_is_not_waited_for_and_learns_later_what_it_missed(wire):
    for number in range(500):
        wire.seat.show(tick(number))
        wire.now_s += 0.1
    before = wire.shown()
    assert len(before) < 500
    wire.seat.show(tick(500))
    (newest,) = wire.shown()
    assert newest.cycles == 501
    assert sum(len(cycle.round_trips_ms) for cycle in [*before, newest]) == 501


def test_what_is_pressed_reaches_the_controls_in_one_cycle(wire):
    controls = Controls()
    wire.say(Choose(mode="user", seen_s=50.0), Held(steering=0.5, speed=0.0, until_s=50.15), Press(ask="start"))
    wire.seat.poll(controls, 50.0)
    heard = controls.hear(50.1)
    assert (heard.mode, heard.asks, heard.hands) == ("user", ("start",), Hands(0.5, 0.0, 50.15))
    assert controls.hear(50.15).hands is None


def test_who_lets_go_has_no_hands_on_the_wheel(wire):
    controls = Controls("user")
    wire.say(Held(steering=0.5, speed=0.0, until_s=50.15), LetGo())
    wire.seat.poll(controls, 50.0)
    assert controls.hear(50.0).hands is None


def test_a_process_that_is_gone_has_the_car_stopped_once_after_what_it_said_last(wire):
    controls = Controls("user")
    wire.say(Held(steering=0.5, speed=0.0, until_s=50.15), Press(ask="start"))
    wire.theirs.close()
    wire.seat.poll(controls, 50.0)
    heard = controls.hear(50.0)
    assert (heard.hands, heard.asks) == (None, ("start", "stop"))
    wire.seat.poll(controls, 50.1)
    wire.seat.show(tick(1))  # to nobody
    assert controls.hear(50.1).asks == ()


def test_a_large_picture_is_thinned_and_none_is_none():
    image = np.arange(240 * 320 * 3, dtype=np.uint32).reshape(240, 320, 3).astype(np.uint8)
    small = picture(image)
    assert small == Picture(120, 160, image[::2, ::2].tobytes())
    assert picture(image[:0]) is None
    assert picture(image[:, :, 0]) is None
