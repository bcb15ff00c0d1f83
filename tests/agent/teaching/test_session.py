"""The control loop of a taught car: what it learns from, what it never learns from, and that it waits for nobody."""

from collections import deque
from itertools import pairwise

import numpy as np
import pytest
import torch

from agent.checkpoint import flat_weights
from agent.latent import MIRROR_STATE
from agent.line.loopback import Loopback
from agent.networks import Actor
from agent.noise import OrnsteinUhlenbeckConfig
from agent.teaching.pupil import CHUNK, Pupil
from agent.teaching.session import Session
from deploy.clock import RateKeeper, Stalls
from deploy.driving.safety import Limits
from deploy.observation import StateVector
from deploy.safety_drivers import Phase, Request, SafetyConfig, Task
from deploy.safety_drivers.scripted import ScriptedDriver
from deploy.vehicles import Frame
from deploy.wire import Begin, EpisodeReport, Experience, Undo, Weights
from tests.agent.fakes import FirstPixel
from tests.deploy.cars import SPEC, RealCar, SimulatedCar

OBS = 3 + 6  # first pixel, state


class Line(Loopback):
    """A line on which weights of the given value arrive whenever they are asked for; it notes all that happens."""

    def __init__(self, did: list[str], caught_up: bool = True):
        super().__init__()
        self.did, self.messages = did, list[tuple]()
        self.published = self.episodes = 0
        self.caught_up, self.there = caught_up, True

    def send(self, message, *arrays: np.ndarray) -> bool:
        self.messages.append((message, *arrays))
        self.sent = self.arrived = len(self.messages)
        return True

    def newest_weights(self, wait_ms: int = 0) -> tuple[Weights, np.ndarray] | None:
        assert wait_ms == 0, "the car waited for the learner"
        self.did.append("exchange")
        if not self.there:
            return None
        self.published += 1
        due = 0 if self.caught_up else 1
        header = Weights(version=self.published, updates=0, transitions=0, episodes=self.episodes, due=due, stop=False)
        return header, np.full(WEIGHTS, self.published / 1000, np.float32)

    def of(self, kind: type) -> list:
        return [message for message, *_ in self.messages if isinstance(message, kind)]


class Says:
    """A safety driver who says, in every control cycle, the next of these."""

    hint = ""

    def __init__(self, *said: Request | None):
        self.said = deque(said)
        self.phases: list[Phase] = []

    def watch(self, frame: Frame, phase: Phase, task: Task) -> Request | None:
        self.phases.append(phase)
        return self.said.popleft() if self.said else "done"

    def close(self) -> None:
        pass


def make_actor() -> Actor:
    torch.manual_seed(0)
    return Actor(OBS, 2, (4,)).requires_grad_(False)


WEIGHTS = len(flat_weights(make_actor()))


def make(
    car: RealCar, driver, sigma: float = 0.4, caught_up: bool = True, seed: int = 0, tell=lambda _: None
) -> Session:
    vector = StateVector(SPEC.top_speed_mps, SPEC.max_steering_rad)
    line = Line(car.did, caught_up)
    pupil = Pupil(FirstPixel(), make_actor(), OrnsteinUhlenbeckConfig(sigma=sigma), seed, vector, 0.1, line)
    clock = RateKeeper(0.1, lambda: car.now_s, car.sleep)
    limits = Limits(SPEC.max_steering_rad, SPEC.max_steering_rate_radps, recovery_cycles=1)
    return Session(car, driver, pupil, limits, clock, Stalls(1.0, now=lambda: car.now_s), tell)


def run(session: Session) -> Line:
    session.run(lambda: None)
    assert isinstance(session.pupil.line, Line)
    return session.pupil.line


START: list[Request | None] = [None, "train", "in place", None]  # the weights come after the first cycle; it drives
TEST: list[Request | None] = ["test", "in place", None]


def experience(line: Line) -> list[np.ndarray]:
    """The transitions, column by column; every second one is mirrored."""
    arrays = [arrays for message, *arrays in line.messages if isinstance(message, Experience)]
    return [np.concatenate(column) for column in zip(*arrays, strict=True)]


def test_what_is_learned_is_what_was_seen_and_what_the_motors_really_got():
    car = SimulatedCar(length_m=1e9)
    line = run(make(car, Says(*START, *[None] * 20, "takeover")))
    obs, action, reward, terminated, next_obs = (column[::2] for column in experience(line))
    assert len(obs) == 21  # frames of 22 cycles, the last one after the safety driver had taken over
    seen = np.arange(4, 26) / 255  # the first image of the episode is the fourth that was taken
    assert obs[:, 0] == pytest.approx(seen[:-1])
    assert next_obs[:, 0] == pytest.approx(seen[1:])
    driven = car.commands[3:24]
    assert action[:, 0] == pytest.approx([command.steering / 2 for command in driven])
    assert action[:, 1] == pytest.approx([command.speed for command in driven])
    assert reward == pytest.approx([command.speed + 1 for command in driven])
    assert terminated.tolist() == [False] * 20 + [True]
    assert np.array_equal(next_obs[:-1], obs[1:])
    assert obs[1:, 5:7] == pytest.approx(action[:-1])  # the state has the action that was executed last
    assert obs[0, 5:].tolist() == [0, -1, 0, -1]  # and the car stood before


def test_every_episode_begins_with_a_car_that_has_stood():
    second: list[Request | None] = ["train", "in place", None]
    line = run(make(SimulatedCar(), Says(*START, None, None, "takeover", *second, None, "takeover")))
    first_of_second = experience(line)[0][::2][3]
    assert first_of_second[5:].tolist() == [0, -1, 0, -1]


def test_every_transition_is_learned_mirrored_too():
    line = run(make(SimulatedCar(length_m=1e9), Says(*START, *[None] * 5, "takeover")))
    lived, mirrored = ([column[i::2] for column in experience(line)] for i in (0, 1))
    assert np.array_equal(mirrored[1], lived[1] * [-1, 1])
    for column in (0, 4):
        assert mirrored[column][:, 0] == pytest.approx(lived[column][:, 0] + 100 / 255)  # the right edge of the image
        assert np.array_equal(mirrored[column][:, 3:], lived[column][:, 3:] * MIRROR_STATE)
    assert all(np.array_equal(mirrored[column], lived[column]) for column in (2, 3))


@pytest.mark.parametrize(
    ("said", "terminated", "disengagement", "finished"),
    [("takeover", True, "safety driver", False), ("finished", False, None, True), ("pause", False, None, False)],
)
def test_only_a_disengagement_terminates(said, terminated, disengagement, finished):
    line = run(make(SimulatedCar(), Says(*START, None, None, said)))
    assert experience(line)[3].tolist() == [False] * 4 + [terminated] * 2
    (report,) = line.of(EpisodeReport)
    assert (report.kind, report.steps) == ("train", 3)
    assert (report.disengagement, report.finished) == (disengagement, finished)
    assert report.distance_m == pytest.approx(experience(line)[2][::2].sum())
    assert report.wall_s == pytest.approx(0.3)


def test_a_missed_control_cycle_is_no_transition_but_its_way_counts():
    car = SimulatedCar(length_m=1e9)
    session = make(car, Says(*START, *[None] * 10, "takeover"))
    cycles = iter(range(1000))
    session.run(lambda: car.sleep(0.22) if next(cycles) in (8, 13) else None)
    line = session.pupil.line
    assert isinstance(line, Line)
    assert session.taught.missed == 2
    lived = [column[::2] for column in experience(line)]
    assert len(lived[0]) == 11 - 1  # the second time it ended in a takeover
    assert lived[3].tolist() == [False] * 9 + [True]
    (report,) = line.of(EpisodeReport)
    assert report.steps == 11
    assert report.distance_m == pytest.approx(sum(command.speed + 1 for command in car.commands[3:14]))


@pytest.mark.parametrize("stall_s", [1.1, 60.0, 1e6])
def test_after_a_stall_the_car_stands_and_waits_to_be_asked_again(stall_s):
    car, told = RealCar(), list[str]()
    session = make(
        car, driver := Says(*START, *[None] * 10, "train", "in place", None, None, "takeover"), tell=told.append
    )
    cycles = iter(range(1000))
    session.run(lambda: car.sleep(stall_s) if next(cycles) == 8 else None)
    line = session.pupil.line
    assert isinstance(line, Line)
    cut_off, again = line.of(EpisodeReport)
    assert driver.phases[8] == "driving"
    assert driver.phases[9:15] == ["standing"] * 6
    assert [command.speed for command in car.commands[9:14]] == [-1] * 5
    assert (cut_off.disengagement, cut_off.finished) == (None, False)
    # The six images before are what there was of it: the way over the gap is nobody's.
    assert (cut_off.steps, cut_off.wall_s) == (5, pytest.approx(0.5))
    assert cut_off.distance_m < 5 * 0.1 * SPEC.top_speed_mps
    assert not any(experience(line)[3][: 2 * cut_off.steps])
    assert again.disengagement == "safety driver"
    assert [text for text in told if "not seen" in text] == [
        f"the road was not seen for {stall_s:.1f} s; the car stands, and waits to be asked again"
    ]


def test_an_episode_that_was_asked_for_before_a_stall_does_not_begin_after_it():
    car = SimulatedCar()
    session = make(car, driver := Says(None, "train", None, None, "in place", *[None] * 5))
    cycles = iter(range(1000))
    session.run(lambda: car.sleep(60.0) if next(cycles) == 2 else None)
    assert session.pupil.line.messages == []
    assert "driving" not in driver.phases


def test_a_test_that_stalled_counts_for_nothing():
    car = SimulatedCar()
    session = make(car, Says(None, *TEST, None, None, None, "takeover"))
    cycles = iter(range(1000))
    session.run(lambda: car.sleep(60.0) if next(cycles) == 5 else None)
    assert session.pupil.line.messages == []


def test_the_report_names_what_the_world_saw():
    car = SimulatedCar()
    car.leaves_m = 0.0
    (report,) = run(make(car, Says(*START, None, None, "takeover"))).of(EpisodeReport)
    assert report.disengagement == "off lane"


def test_a_test_is_driven_without_noise_by_the_same_weights_and_never_learned_from():
    session = make(SimulatedCar(), Says(None, *TEST, None, None, None, "takeover"), sigma=100.0)
    line = run(session)
    ((report, weights),) = [(message, *arrays) for message, *arrays in line.messages]
    assert (report.kind, report.version) == ("test", 3)  # three cycles before it began, each brought new ones
    assert np.array_equal(weights, np.full(WEIGHTS, 3 / 1000, np.float32))
    assert all(abs(command.steering) < 0.5 for command in session.car.commands)
    assert flat_weights(session.pupil.actor)[0] == pytest.approx(session.pupil.version / 1000)  # newer ones since


def test_training_is_driven_with_noise_by_ever_newer_weights():
    session = make(SimulatedCar(), Says(*START, *[None] * 30, "takeover"), sigma=100.0)
    line = run(session)
    assert {round(command.speed) for command in session.car.commands[3:-3]} >= {-1, 1}
    (report,) = line.of(EpisodeReport)
    assert report.version == 34  # it ended in the 35th cycle, and each had brought new ones


def test_the_noise_of_an_episode_depends_on_seed_and_number():
    def speeds(seed: int, episodes: int) -> list[float]:
        session = make(SimulatedCar(), Says(*START, *[None] * 5, "takeover"), sigma=1.0, seed=seed)
        session.pupil.line.episodes = episodes
        run(session)
        return [command.speed for command in session.car.commands]

    assert speeds(0, 0) == speeds(0, 0)
    assert speeds(0, 0) != speeds(0, 1) != speeds(1, 1)


def test_a_test_that_is_broken_off_counts_for_nothing():
    line = run(make(SimulatedCar(), Says(None, *TEST, None, None, "pause")))
    assert line.messages == []


def test_undo_follows_what_it_undoes_on_the_same_line():
    line = run(make(SimulatedCar(length_m=1e9), Says(*START, *[None] * (CHUNK // 2), "undo", None, "undo")))
    assert [type(message) for message, *_ in line.messages] == [Begin, Experience, Experience, EpisodeReport, Undo]


def test_the_learner_is_told_when_a_training_episode_begins_and_not_of_tests():
    line = run(make(SimulatedCar(), Says(*START, "takeover", *TEST, None, "takeover")))
    assert [type(message) for message, *_ in line.messages] == [Begin, Experience, EpisodeReport, EpisodeReport]


def test_the_car_stands_unless_an_episode_is_driven():
    car, driver = (
        SimulatedCar(),
        Says(*START, None, "pause", None, "train", None, "in place", "pause", None, *TEST, "takeover", None),
    )
    run(make(car, driver))
    phases = [*driver.phases[1:], "done"]  # those that the cycles ended in
    assert {"standing", "placing", "waiting", "driving"} <= set(phases)
    for phase, command, now_s in zip(phases, car.commands, np.arange(1, 99) / 10 + 100, strict=False):
        assert phase == "driving" or (command.speed == -1 and command.expires_at_s <= now_s + 1e-6)
        assert phase != "driving" or command.expires_at_s > now_s


def test_an_episode_does_not_begin_until_the_learner_has_caught_up():
    driver = Says(*START, *[None] * 10)
    line = run(make(SimulatedCar(), driver, caught_up=False))
    assert line.messages == []
    assert driver.phases[-1] == "waiting"


def test_weights_are_exchanged_between_two_control_cycles_and_nothing_is_waited_for():
    session = make(SimulatedCar(length_m=1e9), Says(*START, *[None] * 20, "takeover", *TEST, None, None, "takeover"))
    run(session)
    assert set(pairwise(session.car.did)) == {("read", "send"), ("send", "exchange"), ("exchange", "read")}
    assert session.clock.skipped == 0


def test_without_a_learner_the_car_drives_on_by_its_last_policy():
    session = make(SimulatedCar(length_m=1e9), Says(*START, *[None] * 60, "takeover"), sigma=0.0)
    line = session.pupil.line
    assert isinstance(line, Line)
    cycles = iter(range(1000))

    def lose() -> None:
        line.there = next(cycles) < 10

    session.run(lose)
    (report,) = line.of(EpisodeReport)
    assert (report.steps, report.version) == (61, 11)
    assert len(experience(line)[0]) == 2 * 61
    assert [command.speed for command in session.car.commands[-10:-2]] != [-1] * 8


def test_a_real_car_is_rewarded_by_its_measured_speed():
    car = RealCar()
    line = run(make(car, Says(*START, None, None, "takeover")))
    standing, *speeds = [0.0, *[command.speed + 1 for command in car.commands[3:6]]]
    means = [(before + after) / 2 for before, after in pairwise([standing, *speeds])]
    assert experience(line)[2][::2] == pytest.approx(np.array(means) * 0.1)


def test_a_script_teaches_a_simulated_car():
    car = SimulatedCar(length_m=6.0)
    config = SafetyConfig(
        put_back_s=0.2, reaction_s=0.0, script=("train", "test", "undo", "train"), rounds=1, until_passed=False
    )
    session = make(car, ScriptedDriver(car, config))
    line = run(session)
    assert [type(m).__name__ for m, *_ in line.messages if not isinstance(m, Experience)] == [
        "Begin",
        "EpisodeReport",
        "EpisodeReport",
        "Undo",
        "Begin",
        "EpisodeReport",
    ]
    assert all(report.finished for report in line.of(EpisodeReport))
    assert (session.taught.trained, session.taught.tested, session.taught.undone) == (2, 1, 1)


def test_what_a_learner_said_before_it_was_lost_does_not_start_an_episode():
    session = make(SimulatedCar(), Says(*START[:3], *[None] * 10))
    line = session.pupil.line
    assert isinstance(line, Line)
    cycles = iter(range(1000))

    def lose() -> None:
        line.there = next(cycles) < 1

    session.run(lose)
    assert session.pupil.header.version > line.version
    assert line.messages == []
