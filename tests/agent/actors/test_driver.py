"""The driver ships what was executed, tests without noise, waits for the learner and ends with it."""

import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.sharedctypes import RawValue

import numpy as np
import pytest
import torch
import zmq

from agent.actors.driver import CHUNK, Driver, LearnerGone
from agent.checkpoint import flat_weights, load_flat_weights
from agent.line.channel import ActorEnd, LearnerEnd, local_addresses
from agent.line.loopback import Loopback
from agent.networks import Actor
from agent.noise import OrnsteinUhlenbeck, OrnsteinUhlenbeckConfig
from agent.training.supervisor import Link, Orphaned
from deploy.wire import EpisodeReport, Experience, Weights
from tests.agent.fakes import Strip, StripFleet


class Line(Loopback):
    """A line that remembers what was sent, and on which the given weights arrive, one look after the other.

    The learner has whatever was sent at once, unless it is `deaf`, and says so by receipts of the version of the
    weights that it published last, which is at least `published`.
    """

    def __init__(self, *headers: Weights | None, actor: int = 0, published: int = 0, deaf: bool = False):
        super().__init__()
        self.actor, self.published, self.deaf = actor, published, deaf
        self.headers = list(headers)
        self.messages: list[tuple] = []
        self.events: list[str] = []

    def send(self, message, *arrays: np.ndarray) -> bool:
        self.messages.append((message, arrays))
        self.sent += 1
        if not self.deaf:
            self.arrived, self.version = self.sent, self.published
        self.events.append(message.kind if isinstance(message, EpisodeReport) else "experience")
        return True

    def newest_weights(self, wait_ms: int = 0) -> tuple[Weights, np.ndarray] | None:
        if wait_ms == 0:
            return None  # while driving
        header = self.headers.pop(0)
        self.events.append("look")
        if header is None:
            return None
        self.published = max(self.published, header.version)
        return header, np.full(WEIGHTS, header.version / 100, np.float32)

    def experience(self) -> list[tuple]:
        return [(message, arrays) for message, arrays in self.messages if isinstance(message, Experience)]

    def reports(self) -> list[tuple]:
        return [(message, arrays) for message, arrays in self.messages if isinstance(message, EpisodeReport)]


def make_actor() -> Actor:
    torch.manual_seed(0)
    return Actor(2, 2, (4,))


WEIGHTS = len(flat_weights(make_actor()))


def make(env: Strip, line: Line, sigma: float = 0.4, cars: int = 1) -> Driver:
    """A driver of a car on that strip, or of several on strips like it."""
    envs = [env, *(Strip(env.length, env.ending) for _ in range(cars - 1))]
    config = OrnsteinUhlenbeckConfig(sigma=sigma)
    noises = [OrnsteinUhlenbeck(config, 2, np.random.default_rng(i)) for i in range(cars)]
    return Driver(StripFleet(*envs), make_actor(), noises, line)


def drive(driver: Driver, kind: str) -> EpisodeReport:
    """Drive the first car for an episode."""
    car = driver.cars[0]
    car.next = kind
    driver.begin(car)
    while car.ride:
        driver.drive([car])
    return driver.line.reports()[-1][0]


def header(version: int = 1, *, due: int = 0, episodes: int = 0, stop: bool = False) -> Weights:
    return Weights(version=version, updates=0, transitions=0, episodes=episodes, due=due, stop=stop)


def shipped(line: Line, *, mirrored: bool = False) -> list[np.ndarray]:
    """The transitions as lived or as mirrored, which travel by turns, column by column."""
    columns = zip(*(arrays for _, arrays in line.experience()), strict=True)
    return [np.concatenate(column)[int(mirrored) :: 2] for column in columns]


def policy(obs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return make_actor()(torch.from_numpy(np.array(obs))).numpy()


def test_what_is_shipped_is_what_was_executed_not_what_was_asked_for():
    env, line = Strip(70), Line()
    drive(make(env, line), "train")
    obs, action, reward, terminated, next_obs = shipped(line)
    assert np.array_equal(action, np.array(env.asked) / 2)
    assert np.array_equal(obs, env.seen[:-1])
    assert np.array_equal(next_obs, env.seen[1:])
    assert reward.tolist() == list(range(1, 71))
    assert terminated.tolist() == [False] * 69 + [True]
    assert [column.dtype for column in (obs, action, reward, terminated, next_obs)] == ["f4", "f4", "f4", "?", "f4"]


def test_every_transition_is_shipped_mirrored_too():
    env, line = Strip(5), Line()
    drive(make(env, line), "train")
    obs, action, reward, terminated, next_obs = shipped(line, mirrored=True)
    assert np.array_equal(action, np.array(env.asked) / 2 * [-1, 1])
    assert np.array_equal(obs, -np.array(env.seen[:-1]))
    assert np.array_equal(next_obs, -np.array(env.seen[1:]))
    assert (reward.tolist(), terminated.tolist()) == ([1, 2, 3, 4, 5], [False] * 4 + [True])


def test_a_time_out_is_not_shipped_as_a_termination():
    line = Line()
    drive(make(Strip(5, ending="truncated"), line), "train")
    assert shipped(line)[3].tolist() == [False] * 5


def test_experience_travels_in_chunks_that_count_up_over_the_episodes():
    line = Line()
    driver = make(Strip(CHUNK + 3), line)  # every step travels twice
    drive(driver, "train")
    drive(driver, "train")
    assert [len(arrays[0]) for _, arrays in line.experience()] == [CHUNK, CHUNK, 6] * 2
    firsts = [message.first for message, _ in line.experience()]
    assert firsts[:3] == [0, CHUNK, 2 * CHUNK]
    assert all(later - earlier in (CHUNK, 6) for earlier, later in pairwise(firsts))


def test_training_adds_the_noise_and_stays_within_bounds():
    env, line = Strip(200), Line()
    drive(make(env, line, sigma=1.5), "train")
    same_noise = OrnsteinUhlenbeck(OrnsteinUhlenbeckConfig(sigma=1.5), 2, np.random.default_rng(0))
    expected = [np.clip(mu + same_noise(), -1, 1) for mu in policy(np.array(env.seen[:-1]))]
    assert np.array(env.asked) == pytest.approx(np.array(expected), abs=1e-6)
    assert np.abs(env.asked).max() == 1.0


def test_a_test_is_free_of_noise_and_ships_nothing():
    env, line = Strip(50), Line()
    drive(make(env, line, sigma=100.0), "test")
    assert np.array(env.asked) == pytest.approx(policy(np.array(env.seen[:-1])), abs=1e-6)
    assert line.experience() == []


@pytest.mark.parametrize(("ending", "disengagement"), [("terminated", "off the strip"), ("truncated", None)])
def test_the_report_says_how_the_episode_ended(ending, disengagement):
    report = drive(make(Strip(4, ending), Line()), "test")
    assert (report.kind, report.steps, report.distance_m, report.reward) == ("test", 4, 12.0, 10.0)  # 1 + 2 + 3 + 4
    assert report.disengagement == disengagement
    assert report.finished == (ending == "truncated")
    assert report.wall_s > 0


def test_training_goes_on_where_the_car_left_the_lane_and_tests_start_at_the_beginning():
    env = Strip(4)
    driver = make(env, Line())
    driven_m = [drive(driver, kind).distance_m for kind in ("train", "test", "train", "test")]
    assert env.started_m == [0.0, 0.0, 12.0, 0.0]
    assert driven_m == [12.0] * 4


def test_training_starts_anew_after_the_whole_route():
    env = Strip(4, ending="truncated")  # at the end of the route
    driver = make(env, Line())
    for _ in range(2):
        assert drive(driver, "train").finished
    assert env.started_m == [0.0, 0.0]


def test_a_test_waits_until_the_learner_has_made_its_updates():
    line = Line(header(1), header(5), None, header(6, due=1), header(7), header(8, stop=True))
    line.published = 5  # when it has the episode: the weights of version 5 are older, those of 6 lack an update
    with pytest.raises(LearnerGone):
        make(Strip(4), line).run()
    assert line.events == ["look", "experience", "train", "look", "look", "look", "look", "test", "look"]


def test_a_test_waits_for_what_has_not_arrived_yet():
    line = Line(header(1), header(2), header(3, stop=True), deaf=True)
    with pytest.raises(LearnerGone):
        make(Strip(4), line).run()
    assert [report.kind for report, _ in line.reports()] == ["train"]


def test_only_the_first_of_several_actors_tests():
    line = Line(header(1), header(2, episodes=3), header(3, episodes=5), header(4, stop=True), actor=2)
    with pytest.raises(LearnerGone):
        make(Strip(4), line).run()
    assert [(report.kind, report.actor, report.episode) for report, _ in line.reports()] == [
        ("train", 2, 0),
        ("train", 2, 3),
        ("train", 2, 5),
    ]


def test_a_tests_report_carries_the_weights_that_drove():
    line = Line(header(1), header(7, episodes=1), header(8, stop=True))
    with pytest.raises(LearnerGone):
        make(Strip(4), line).run()
    (_, none), (test, (weights,)) = line.reports()
    assert none == ()
    assert (test.kind, test.version) == ("test", 7)
    assert weights == pytest.approx(np.full(WEIGHTS, 0.07))


def test_noise_anneals_from_episode_to_episode():
    line = Line(header(1), header(2, episodes=1), header(3, episodes=2), header(4, stop=True))
    driver = make(Strip(4), line)
    with pytest.raises(LearnerGone):
        driver.run()
    assert driver.cars[0].noise.sigma == pytest.approx(0.4 * 2 ** (-2 / 250))


class Endless(Line):
    """A line whose learner has always just published, also while cars drive; it ends after so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def newest_weights(self, wait_ms: int = 0) -> tuple[Weights, np.ndarray]:
        self.published += 1
        stop = self.published == self.looks
        return header(self.published, stop=stop), np.full(WEIGHTS, self.published / 100, np.float32)


def test_cars_of_one_actor_drive_side_by_side_each_with_its_own_noise_and_episodes():
    long, line = Strip(7), Endless(looks=30)
    driver = make(long, line, cars=3)
    driver.fleet.envs[1] = short = Strip(3)
    with pytest.raises(LearnerGone):
        driver.run()
    train = [(report.car, report.steps) for report, _ in line.reports() if report.kind == "train"]
    assert {(0, 7), (1, 3), (2, 7)} == set(train)
    assert train.count((1, 3)) > 2 * train.count((0, 7))  # none waits for the longest episode
    assert {report.car for report, _ in line.reports() if report.kind == "test"} == {0}
    assert not np.array_equal(long.asked[:3], short.asked[:3])


def test_a_test_is_driven_to_its_end_with_the_weights_that_it_began_with():
    env, line = Strip(5), Endless(looks=12)
    with pytest.raises(LearnerGone):
        make(env, line, sigma=0.0).run()
    (report, (weights,)) = next(item for item in line.reports() if item[0].kind == "test")
    assert weights == pytest.approx(np.full(WEIGHTS, report.version / 100))
    actor = make_actor()
    load_flat_weights(actor, torch.from_numpy(weights))
    seen, asked = np.array(env.seen[6:11]), np.array(env.asked[5:10])  # after the training episode
    with torch.no_grad():
        assert asked == pytest.approx(actor(torch.from_numpy(seen)).numpy(), abs=1e-6)
    assert len({tuple(action) for action in np.array(env.asked[:5])}) == 5  # while training weights change


PARENT = """
import sys
from tests.agent.actors.test_driver import be_the_learner

if __name__ == "__main__":
    be_the_learner(*sys.argv[1:])
"""


def be_the_learner(folder: str, what: str) -> None:
    """Start an actor process; leave it without weights, or have it drive. Says so, and the actor's pid."""
    actor = get_context("spawn").Process(target=act_for_ever, args=(folder, what, RawValue("d", 0.0)))
    actor.start()
    if what == "waiting":
        actor.join()
    with zmq.Context() as context, closing(LearnerEnd(context, local_addresses(folder))) as line:
        while True:
            for _ in line.receive(50):
                print(what, actor.pid, flush=True)  # noqa: T201 (the test waits for it)
            line.publish(header(), np.zeros(WEIGHTS, np.float32))


def act_for_ever(folder: str, what: str, beat_at_s: object) -> None:
    """Be an actor process that waits for weights, or that drives an endless episode."""
    env = Strip(10**9)
    env.__dict__.update(asked=Forgetful(), seen=Forgetful())
    with zmq.Context() as context, closing(ActorEnd(context, local_addresses(folder))) as line, suppress(Orphaned):
        if what == "waiting":
            print(what, os.getpid(), flush=True)  # noqa: T201 (the test waits for it)
        driver = make(env, line)
        driver.beat = Link(beat_at_s, pipe=None).beat
        driver.run()


class Forgetful(list):
    """Keeps the last item only."""

    def append(self, item: np.ndarray) -> None:
        self[:] = [item]


@pytest.mark.parametrize("what", [pytest.param("waiting", marks=pytest.mark.slow), "driving"])
def test_the_actor_ends_by_itself_when_its_learner_is_killed(what, socket_folder, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, script, socket_folder, what],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    with parent:
        said, pid = parent.stdout.readline().split()
        assert said == what
        parent.send_signal(signal.SIGKILL)
        try:
            parent.communicate(timeout=20)  # until every process that holds the pipe has ended
        except subprocess.TimeoutExpired:
            os.kill(int(pid), signal.SIGKILL)
            pytest.fail("the actor outlived its learner")
