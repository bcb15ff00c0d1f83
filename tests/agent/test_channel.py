"""Experience and weights cross real sockets; what is no message of ours is dropped."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
import zmq

import agent.channel
from agent.channel import ActorEnd, Addresses, LearnerEnd, local_addresses
from deploy.sockets import connect
from deploy.wire import EpisodeReport, Experience, Hello, Weights, pack

REPORT = EpisodeReport(
    actor=0,
    episode=3,
    kind="test",
    steps=7,
    distance_m=1.5,
    reward=1.25,
    disengagement=None,
    finished=True,
    version=4,
    wall_s=0.5,
)


def header(version: int) -> Weights:
    return Weights(version=version, updates=10 * version, transitions=2, episodes=1, stop=False)


@pytest.fixture
def addresses(socket_folder) -> Addresses:
    return local_addresses(str(socket_folder))


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def learner(context, addresses) -> Iterator[LearnerEnd]:
    with closing(LearnerEnd(context, addresses)) as learner:
        yield learner


@pytest.fixture
def actor(context, addresses) -> Iterator[ActorEnd]:
    with closing(ActorEnd(context, addresses)) as actor:
        yield actor


def received(learner: LearnerEnd, count: int) -> list:
    messages = []
    for _ in range(100):
        messages += learner.receive(wait_ms=200)
        if len(messages) >= count:
            break
    return messages


def newest(learner: LearnerEnd, actor: ActorEnd, version: int) -> np.ndarray:
    """Publish, as the idle learner does, until the actor has these weights."""
    for _ in range(200):
        learner.publish(header(version), np.full(5, version, np.float32))
        found = actor.newest_weights(wait_ms=100)
        if found is not None and found[0] == header(version):
            return found[1]
    raise AssertionError("no weights came")


def test_experience_and_reports_arrive_whole_and_in_order(learner, actor):
    obs, terminated = np.random.default_rng(0).random((4, 6), np.float32), np.array([False, False, False, True])
    first = Experience(episode=1, first=0, actor=0)
    assert actor.send(first, obs, terminated, wait_ms=5000)
    assert actor.send(REPORT, np.arange(3, dtype=np.float32), wait_ms=5000)
    (experience, arrays), (report, (weights,)) = received(learner, 2)
    assert (experience, report) == (first, REPORT)
    assert np.array_equal(arrays[0], obs)
    assert np.array_equal(arrays[1], terminated)
    assert weights.tolist() == [0, 1, 2]


def test_several_actors_reach_one_learner(learner, actor, context, addresses):
    with closing(ActorEnd(context, addresses)) as other:
        for number, sender in enumerate((actor, other)):
            assert sender.send(Experience(episode=0, first=0, actor=number), wait_ms=5000)
        assert {message.actor for message, _ in received(learner, 2)} == {0, 1}
        newest(learner, actor, 1)
        newest(learner, other, 2)


def test_weights_reach_an_actor_that_comes_late(learner, actor):
    learner.publish(header(1), np.zeros(5, np.float32))  # nobody listens yet
    assert newest(learner, actor, 2).tolist() == [2.0] * 5


def test_only_the_newest_weights_count(learner, actor, monkeypatch):
    waiting = [pack(header(version), np.full(5, version, np.float32)) for version in (1, 2, 3)]
    monkeypatch.setattr(agent.channel, "drain", lambda _: iter(waiting))
    found, weights = actor.newest_weights()
    assert found.version == 3
    assert weights.tolist() == [3.0] * 5


def test_no_weights_are_none_at_once(actor):
    assert actor.newest_weights() is None


def test_nothing_received_is_an_empty_turn(learner):
    assert list(learner.receive()) == []


def test_malformed_messages_are_counted_and_dropped(learner, actor, context, addresses):
    junk = [[b"junk"], [b""], [b"\x91" * 1000], pack(Hello()), pack(header(1)), [*pack(REPORT), b"a frame too many"]]
    with connect(context, zmq.PUSH, addresses.experience) as stranger:
        for frames in junk:
            stranger.send_multipart(frames)
        stranger.send_multipart(pack(REPORT))
        assert [message for message, _ in received(learner, 1)] == [REPORT]
    assert learner.malformed == len(junk)
    assert actor.send(Experience(episode=9, first=0, actor=0), wait_ms=5000)
    assert [message.episode for message, _ in received(learner, 1)] == [9]


def test_a_crowd_of_weights_never_blocks_the_learner(learner, actor):
    newest(learner, actor, 1)
    for version in range(2, 500):
        learner.publish(header(version), np.zeros(10_000, np.float32))
    assert newest(learner, actor, 500).tolist() == [500.0] * 5


def test_a_learner_that_is_not_there_takes_nothing(actor):
    assert not actor.send(REPORT, wait_ms=20)
