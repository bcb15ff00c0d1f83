"""One control period: who is asked, who is listened to, what the motors get, and what is written down of it."""

import time
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import pytest

from deploy.driving.controls import Controls, Mode
from deploy.driving.faults import Fault
from deploy.driving.loop import ControlLoop
from deploy.driving.safety import Limits
from deploy.wire import Action
from tests.deploy.cars import SPEC as CAR
from tests.deploy.cars import RealCar
from tests.deploy.policies import SPEC

POLICY = msgspec.structs.replace(SPEC, image_height=8, image_width=8, period_s=0.001)
LIMITS = Limits(CAR.max_steering_rad, CAR.max_steering_rate_radps, watchdog_s=60.0, recovery_cycles=1)
SILENT = Fault("silent", "silent")


class Car(RealCar):
    """A car that is always seen now, through a camera that never sees the same twice."""

    def read(self):
        self.now_s = time.monotonic()
        frame = super().read()
        frame.image[1:] = 100 + self.did.count("read") % 100
        return frame


class Policy:
    """Says always the same, and remembers what it was asked."""

    def __init__(self, answer: tuple[float, float] | None = (0.0, 0.5)) -> None:
        self.answer, self.fault, self.asked = answer, SILENT, list[np.ndarray]()

    def act(self, seq, image, state, captured_at_s, deadline_s) -> Action | None:
        self.asked.append(state)
        return self.answer and Action(seq, captured_at_s, self.answer, "policy", 0.001, 5)


class Presses:
    """A seat where somebody asks for one thing in each cycle."""

    hint = ""

    def __init__(self, *asks: str) -> None:
        self.asks = list(asks)

    def poll(self, controls: Controls, now_s: float) -> None:
        if self.asks:
            controls.ask(self.asks.pop(0))

    def close(self) -> None: ...


@pytest.fixture
def made() -> Iterator:
    loops: list[ControlLoop] = []

    def make(policy: Policy, mode: Mode = "local", seats: Sequence = (), armed: bool = True) -> ControlLoop:
        loops.append(ControlLoop(Car(), policy, POLICY, LIMITS, Controls(mode), seats, deadline_s=1.0, armed=armed))
        return loops[-1]

    yield make
    for loop in loops:
        loop.close()


def test_a_good_answer_drives_and_all_of_it_is_written_down(made):
    loop = made(Policy((0.0, 0.5)))
    entry = loop.tick().entry
    assert (entry.safety, entry.action, entry.sent, entry.fault) == ("driving", (0.0, 0.5), (0.0, 0.5), None)
    assert (entry.command, entry.inputs.action) == (loop.car.commands[0], (0.0, 0.5))
    assert 0 <= entry.inputs.now_s - entry.inputs.captured_at_s < 1
    assert entry.inference_ms == 1.0


def test_the_policy_sees_what_the_motors_received(made):
    policy = Policy((0.004, 0.5))
    loop = made(policy)
    sent = [loop.tick().entry.sent for _ in range(3)]
    assert [state[2:4].tolist() for state in policy.asked[1:]] == [pytest.approx(given) for given in sent[:2]]


def test_without_an_answer_the_loop_says_what_the_policy_said_of_itself(made):
    entry = made(Policy(None)).tick().entry
    assert (entry.safety, entry.action, entry.fault) == ("standby", None, SILENT)


def test_a_sick_camera_is_never_shown_to_the_policy(made):
    policy = Policy()
    loop = made(policy)
    loop.tick()
    loop.car.read = lambda: RealCar.read(loop.car)  # nearly black
    entry = loop.tick().entry
    assert (entry.safety, entry.fault) == ("safe_stop", Fault("camera", "black"))
    assert len(policy.asked) == 1


def test_trouble_elsewhere_stops_a_car_whose_policy_is_well(made):
    loop = made(Policy())
    loop.tick()
    full = Fault("log", "no space left on device")
    entry = loop.tick(lambda: full).entry
    assert (entry.safety, entry.command.speed, entry.fault) == ("safe_stop", -1.0, full)


def test_a_person_drives_without_any_policy_and_stops_the_car_by_letting_go(made):
    loop = made(Policy(None), mode="user")
    loop.controls.hold(0.0, -0.5, until_s=float("inf"))
    entry = loop.tick().entry
    assert (entry.safety, entry.command.speed, entry.hands, entry.action) == ("driving", -0.5, (0.0, -0.5), None)
    loop.controls.let_go()
    entry = loop.tick().entry
    assert (entry.safety, entry.fault) == ("safe_stop", Fault("hands", "nobody steers any more"))


def test_who_only_sets_the_speed_has_the_policy_steer(made):
    loop = made(Policy((-1.0, 1.0)), mode="local_angle")
    loop.controls.hold(1.0, -0.5, until_s=float("inf"))
    entry = loop.tick().entry
    assert entry.inputs.action == (-1.0, -0.5)


def test_what_a_seat_asks_for_is_heard_in_the_same_cycle(made):
    loop = made(Policy(), seats=[Presses("start", "stop", "e_stop")], armed=False)
    assert [loop.tick().entry.safety for _ in range(3)] == ["driving", "safe_stop", "e_stop"]
