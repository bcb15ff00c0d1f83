"""The driver ships what was executed, tests without noise, waits for the learner and ends with it."""

import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
import pytest
import torch
import zmq

from agent.actor import CHUNK, Driver, LearnerGone
from agent.channel import ActorEnd, LearnerEnd, local_addresses
from agent.checkpoint import flat_weights
from agent.delivery import Outbox
from agent.networks import Actor
from agent.noise import OrnsteinUhlenbeck, OrnsteinUhlenbeckConfig
from deploy.wire import EpisodeReport, Experience, Weights
from tests.agent.fakes import Strip


class Line(ActorEnd):
    """A line that remembers what was sent, and on which the given weights arrive, one look after the other.

    The learner has whatever was sent at once, and says so by receipts of the version `received_at`.
    """

    def __init__(self, *headers: Weights | None, actor: int = 0, received_at: int = 0):
        self.actor, self.outbox = actor, Outbox()
        self.outbox.version = received_at
        self.headers = list(headers)
        self.sent: list[tuple] = []
        self.events: list[str] = []

    def send(self, message, *arrays: np.ndarray) -> bool:
        self.sent.append((message, arrays))
        self.events.append(message.kind if isinstance(message, EpisodeReport) else "experience")
        return True

    def deliver(self) -> None:
        pass

    def newest_weights(self, wait_ms: int = 0) -> tuple[Weights, np.ndarray] | None:
        if wait_ms == 0:
            return None  # while driving
        header = self.headers.pop(0)
        self.events.append("look")
        return None if header is None else (header, np.full(WEIGHTS, header.version / 100, np.float32))

    def experience(self) -> list[tuple]:
        return [(message, arrays) for message, arrays in self.sent if isinstance(message, Experience)]

    def reports(self) -> list[tuple]:
        return [(message, arrays) for message, arrays in self.sent if isinstance(message, EpisodeReport)]


def make_actor() -> Actor:
    torch.manual_seed(0)
    return Actor(2, 2, (4,))


WEIGHTS = len(flat_weights(make_actor()))


def make(env: Strip, line: Line, sigma: float = 0.4) -> Driver:
    noise = OrnsteinUhlenbeck(OrnsteinUhlenbeckConfig(sigma=sigma), 2, np.random.default_rng(0))
    return Driver(env, make_actor(), noise, line)


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
    make(env, line).drive(train=True)
    obs, action, reward, terminated, next_obs = shipped(line)
    assert np.array_equal(action, np.array(env.asked) / 2)
    assert np.array_equal(obs, env.seen[:-1])
    assert np.array_equal(next_obs, env.seen[1:])
    assert reward.tolist() == list(range(1, 71))
    assert terminated.tolist() == [False] * 69 + [True]
    assert [column.dtype for column in (obs, action, reward, terminated, next_obs)] == ["f4", "f4", "f4", "?", "f4"]


def test_every_transition_is_shipped_mirrored_too():
    env, line = Strip(5), Line()
    make(env, line).drive(train=True)
    obs, action, reward, terminated, next_obs = shipped(line, mirrored=True)
    assert np.array_equal(action, np.array(env.asked) / 2 * [-1, 1])
    assert np.array_equal(obs, -np.array(env.seen[:-1]))
    assert np.array_equal(next_obs, -np.array(env.seen[1:]))
    assert (reward.tolist(), terminated.tolist()) == ([1, 2, 3, 4, 5], [False] * 4 + [True])


def test_a_time_out_is_not_shipped_as_a_termination():
    line = Line()
    make(Strip(5, ending="truncated"), line).drive(train=True)
    assert shipped(line)[3].tolist() == [False] * 5


def test_experience_travels_in_chunks_that_count_up_over_the_episodes():
    line = Line()
    driver = make(Strip(CHUNK + 3), line)  # every step travels twice
    driver.drive(train=True)
    driver.drive(train=True)
    assert [len(arrays[0]) for _, arrays in line.experience()] == [CHUNK, CHUNK, 6] * 2
    firsts = [message.first for message, _ in line.experience()]
    assert firsts[:3] == [0, CHUNK, 2 * CHUNK]
    assert all(later - earlier in (CHUNK, 6) for earlier, later in pairwise(firsts))


def test_training_adds_the_noise_and_stays_within_bounds():
    env, line = Strip(200), Line()
    make(env, line, sigma=1.5).drive(train=True)
    same_noise = OrnsteinUhlenbeck(OrnsteinUhlenbeckConfig(sigma=1.5), 2, np.random.default_rng(0))
    expected = [np.clip(mu + same_noise(), -1, 1) for mu in policy(np.array(env.seen[:-1]))]
    assert np.array(env.asked) == pytest.approx(np.array(expected), abs=1e-6)
    assert np.abs(env.asked).max() == 1.0


def test_a_test_is_free_of_noise_and_ships_nothing():
    env, line = Strip(50), Line()
    make(env, line, sigma=100.0).drive(train=False)
    assert np.array(env.asked) == pytest.approx(policy(np.array(env.seen[:-1])), abs=1e-6)
    assert line.sent == []


@pytest.mark.parametrize(("ending", "disengagement"), [("terminated", "off the strip"), ("truncated", None)])
def test_the_report_says_how_the_episode_ended(ending, disengagement):
    report = make(Strip(4, ending), Line()).drive(train=False)
    assert (report.kind, report.steps, report.distance_m, report.reward) == ("test", 4, 12.0, 10.0)  # 1 + 2 + 3 + 4
    assert report.disengagement == disengagement
    assert report.finished == (ending == "truncated")
    assert report.wall_s > 0


def test_training_goes_on_where_the_car_left_the_lane_and_tests_start_at_the_beginning():
    env = Strip(4)
    driver = make(env, Line())
    driven_m = [driver.drive(train=train).distance_m for train in (True, False, True, False)]
    assert env.started_m == [0.0, 0.0, 12.0, 0.0]
    assert driven_m == [12.0] * 4


def test_training_starts_anew_after_the_whole_route():
    env = Strip(4, ending="truncated")  # at the end of the route
    driver = make(env, Line())
    for _ in range(2):
        assert driver.drive(train=True).finished
    assert env.started_m == [0.0, 0.0]


def test_a_test_waits_until_the_learner_has_made_its_updates():
    too_early = [header(2), None, header(3, due=1)]  # older than the receipt, none, and with an update to come
    line = Line(header(1), *too_early, header(4), header(5, stop=True), received_at=2)
    with pytest.raises(LearnerGone):
        make(Strip(4), line).run(seed=0)
    assert line.events == [
        "look",
        "experience",
        "train",
        "look",
        "look",
        "look",
        "look",
        "test",
        "experience",
        "train",
        "look",
    ]


def test_a_test_waits_for_what_has_not_arrived_yet():
    line = Line(header(1), header(2), header(3, stop=True))
    line.outbox.put([b"on its way"])
    with pytest.raises(LearnerGone):
        make(Strip(4), line).run(seed=0)
    assert [report.kind for report, _ in line.reports()] == ["train"]


def test_only_the_first_of_several_actors_tests():
    line = Line(header(1), header(2, episodes=3), header(3, episodes=5), header(4, stop=True), actor=2)
    with pytest.raises(LearnerGone):
        make(Strip(4), line).run(seed=0)
    assert [(report.kind, report.actor, report.episode) for report, _ in line.reports()] == [
        ("train", 2, 0),
        ("train", 2, 3),
        ("train", 2, 5),
    ]


def test_a_tests_report_carries_the_weights_that_drove():
    line = Line(header(1), header(7, episodes=1), header(8, stop=True))
    with pytest.raises(LearnerGone):
        make(Strip(4), line).run(seed=0)
    (_, none), (test, (weights,)), _ = line.reports()
    assert none == ()
    assert (test.kind, test.version) == ("test", 7)
    assert weights == pytest.approx(np.full(WEIGHTS, 0.07))


def test_noise_anneals_from_episode_to_episode():
    line = Line(header(1), header(2, episodes=1), header(3, episodes=2), header(4, stop=True))
    driver = make(Strip(4), line)
    with pytest.raises(LearnerGone):
        driver.run(seed=0)
    assert driver.noise.sigma == pytest.approx(0.4 * 2 ** (-2 / 250))


def test_the_environment_is_seeded_once():
    env, line = Strip(4), Line(header(1), header(2, stop=True))
    with pytest.raises(LearnerGone):
        make(env, line).run(seed=11)
    assert env.np_random.random() == np.random.default_rng(11).random()


PARENT = """
import sys
from tests.agent.test_actor import be_the_learner

if __name__ == "__main__":
    be_the_learner(*sys.argv[1:])
"""


def be_the_learner(folder: str, what: str) -> None:
    """Start an actor process; leave it without weights, or have it drive. Says so, and the actor's pid."""
    actor = get_context("spawn").Process(target=act_for_ever, args=(folder, what))
    actor.start()
    if what == "waiting":
        actor.join()
    with zmq.Context() as context, closing(LearnerEnd(context, local_addresses(folder))) as line:
        while True:
            for _ in line.receive(50):
                print(what, actor.pid, flush=True)  # noqa: T201 (the test waits for it)
            line.publish(header(), np.zeros(WEIGHTS, np.float32))


def act_for_ever(folder: str, what: str) -> None:
    """Be an actor process that waits for weights, or that drives an endless episode."""
    env = Strip(10**9)
    env.__dict__.update(asked=Forgetful(), seen=Forgetful())
    with zmq.Context() as context, closing(ActorEnd(context, local_addresses(folder))) as line, suppress(LearnerGone):
        if what == "waiting":
            print(what, os.getpid(), flush=True)  # noqa: T201 (the test waits for it)
        make(env, line).run(seed=0)


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
