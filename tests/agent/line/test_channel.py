"""Experience and weights cross real sockets, and strangers are refused."""

import itertools
import select
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context

import numpy as np
import pytest
import zmq

import agent.line.channel
import agent.line.delivery
from agent.line.channel import ActorEnd, Addresses, LearnerEnd
from deploy.sockets import OPTIONS, AddressError, connect
from deploy.wire import (
    Begin,
    Delivery,
    Experience,
    Hello,
    Undo,
    pack,
)
from tests.agent.lines import REPORT, header, newest, received, serve
from tests.keys import GOOD, GOOD_LATER, SERVER, STRANGERS

LOOPBACK = Addresses("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")


def test_experience_and_reports_arrive_whole_and_in_order(learner, actor):
    obs, terminated = np.random.default_rng(0).random((4, 6), np.float32), np.array([False, False, False, True])
    first = Experience(episode=1, first=0, actor=0)
    assert actor.send(first, obs, terminated)
    assert actor.send(REPORT, np.arange(3, dtype=np.float32))
    (experience, arrays), (report, (weights,)) = received(learner, 2, actor)
    assert (experience, report) == (first, REPORT)
    assert np.array_equal(arrays[0], obs)
    assert np.array_equal(arrays[1], terminated)
    assert weights.tolist() == [0, 1, 2]


def test_several_actors_reach_one_learner(learner, actor, context, addresses):
    with closing(ActorEnd(context, addresses)) as other:
        for number, sender in enumerate((actor, other)):
            assert sender.send(Experience(episode=0, first=0, actor=number))
        assert {message.actor for message, _ in received(learner, 2, actor, other)} == {0, 1}
        newest(learner, actor, 1)
        newest(learner, other, 2)


def test_weights_reach_an_actor_that_comes_late(learner, actor):
    learner.publish(header(1), np.zeros(5, np.float32))  # nobody listens yet
    assert newest(learner, actor, 2).tolist() == [2.0] * 5


def test_only_the_newest_weights_count(learner, actor, monkeypatch):
    waiting = [pack(header(version), np.full(5, version, np.float32)) for version in (1, 2, 3)]
    monkeypatch.setattr(agent.line.channel, "drain", lambda _: iter(waiting))
    found, weights = actor.newest_weights()
    assert found.version == 3
    assert weights.tolist() == [3.0] * 5


def test_no_weights_are_none_at_once(actor):
    assert actor.newest_weights() is None


def test_nothing_received_is_an_empty_turn(learner):
    assert list(learner.receive()) == []


def test_malformed_messages_are_counted_and_dropped(learner, actor, context, addresses):
    delivery = pack(Delivery(life=1, number=0, first=0))
    foreign = [[b"junk"], [b""], [b"\x91" * 1000], pack(Hello()), pack(header(1)), [*pack(REPORT), b"a frame too many"]]
    junk = [*foreign, *([*delivery, *frames] for frames in foreign), delivery, pack(REPORT)]
    with connect(context, zmq.DEALER, addresses.experience) as stranger:
        for frames in junk:
            stranger.send_multipart(frames)
        stranger.send_multipart([*delivery, *pack(REPORT)])
        assert [message for message, _ in received(learner, 1)] == [REPORT]
    assert learner.malformed == len(junk)
    assert actor.send(Experience(episode=9, first=0, actor=0))
    assert [message.episode for message, _ in received(learner, 1, actor)] == [9]


def test_a_crowd_of_weights_never_blocks_the_learner(learner, actor):
    newest(learner, actor, 1)
    for version in range(2, 500):
        learner.publish(header(version), np.zeros(10_000, np.float32))
    assert newest(learner, actor, 500).tolist() == [500.0] * 5


def test_an_actor_is_heard_though_it_has_nothing_to_say(learner, context, addresses):
    began_s = time.monotonic()
    with closing(ActorEnd(context, addresses, actor=3)) as quiet:
        for _ in range(200):
            quiet.deliver()
            assert list(learner.receive(wait_ms=20)) == []
            if 3 in learner.heard_at_s:
                break
    assert learner.heard_at_s[3] >= began_s
    assert learner.dropped == {3: 0}
    assert learner.malformed == 0


def test_what_is_sent_before_the_learner_is_there_arrives_when_it_is(context, addresses, actor):
    assert actor.send(REPORT)
    with closing(LearnerEnd(context, addresses)) as learner:
        assert received(learner, 1, actor) == [(REPORT, [])]


def test_a_learner_that_is_gone_keeps_no_actor_waiting_and_its_successor_gets_the_rest(context, addresses, actor):
    with closing(LearnerEnd(context, addresses)) as learner:
        assert actor.send(REPORT)
        assert received(learner, 1, actor) == [(REPORT, [])]
        remembered = learner.inbox
    later = [Experience(episode=number, first=0, actor=0) for number in range(3)]
    assert all(actor.send(message) for message in later)
    with closing(LearnerEnd(context, addresses)) as successor:
        successor.inbox = remembered
        assert [message for message, _ in received(successor, 3, actor)] == later


def test_when_too_many_wait_more_are_dropped(actor, monkeypatch):
    monkeypatch.setattr(agent.line.delivery, "ROOM", 3)
    assert [actor.send(REPORT) for _ in range(5)] == [True] * 3 + [False] * 2
    assert actor.outbox.dropped == 2


def test_what_is_dropped_is_told_to_the_learner(learner, actor, monkeypatch):
    monkeypatch.setattr(agent.line.delivery, "ROOM", 0)
    actor.send(REPORT)
    for _ in range(200):
        actor.deliver()
        list(learner.receive(wait_ms=20))
        if learner.dropped:
            break
    assert learner.dropped == {0: 1}


# -- keys


@pytest.fixture
def guarded(context) -> Iterator[LearnerEnd]:
    """A learner that machines with keys reach."""
    with closing(LearnerEnd(context, LOOPBACK, SERVER)) as learner:
        yield learner


def test_who_has_an_allowed_key_exchanges_experience_and_weights(guarded, context):
    assert all(address.startswith("tcp://127.0.0.1:") for address in guarded.addresses)
    with (
        closing(ActorEnd(context, guarded.addresses, 0, GOOD)) as first,
        closing(ActorEnd(context, guarded.addresses, 1, GOOD_LATER)) as second,
    ):
        serve(guarded, first, 1)
        serve(guarded, second, 2)


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_gets_nothing_through_in_either_direction_and_harms_nobody(guarded, context, who):
    with (
        closing(ActorEnd(context, guarded.addresses, 0, GOOD)) as actor,
        closing(ActorEnd(context, guarded.addresses, 7, STRANGERS[who])) as stranger,
    ):
        assert stranger.send(REPORT)
        for version in range(1, 10):
            serve(guarded, actor, version)
            assert stranger.newest_weights() is None
        with closing(ActorEnd(context, guarded.addresses, 1, GOOD_LATER)) as later:  # the stranger had more time
            for version in range(10, 20):
                serve(guarded, later, version)
                assert stranger.newest_weights(wait_ms=10) is None
        assert stranger.sent - stranger.arrived == 1
    assert 7 not in guarded.heard_at_s
    assert guarded.malformed == 0


def test_an_address_that_cannot_be_had_leaves_no_socket_open(context, guarded):
    with pytest.raises(AddressError, match="in use"):
        LearnerEnd(context, Addresses("tcp://127.0.0.1:0", guarded.addresses.weights))
    with pytest.raises(AddressError, match="expected tcp"):
        ActorEnd(context, Addresses(guarded.addresses.experience, "nonsense"))


def test_begin_and_undo_are_never_dropped(learner, actor, monkeypatch):
    monkeypatch.setattr(agent.line.delivery, "ROOM", 1)
    begin, undo = Begin(actor=0, episode=1), Undo(actor=0)
    assert [actor.send(message) for message in (begin, REPORT, undo)] == [True, False, True]
    assert [message for message, _ in received(learner, 2, actor)] == [begin, undo]


def publish_for_ever(addresses: Addresses) -> None:
    """Be a learner that publishes faster than anybody reads."""
    with zmq.Context() as context, closing(LearnerEnd(context, addresses)) as line:
        for version in itertools.count():
            list(line.receive(wait_ms=1))
            line.publish(header(version), np.zeros(100, np.float32))


def test_an_actor_outlives_a_learner_that_is_killed_while_weights_wait_unread(addresses, context):
    """Longer than a heartbeat: one on a socket whose queue is full would end this very process (libzmq 4.3.5)."""
    with closing(ActorEnd(context, addresses)) as actor:
        for _ in range(2):
            learner = get_context("spawn").Process(target=publish_for_ever, args=(addresses,), daemon=True)
            learner.start()
            while actor.newest_weights(wait_ms=100) is None:
                pass
            select.select([learner.sentinel], [], [], 0.3)  # which does not end: a time in which the queue fills
            learner.kill()
            learner.join()
            waiter = context.socket(zmq.PULL)  # nothing ever comes; two heartbeats go by
            waiter.poll(2 * OPTIONS[zmq.HEARTBEAT_IVL])
            waiter.close()
