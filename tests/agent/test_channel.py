"""Experience and weights cross real sockets; strangers are refused, and what is no message of ours is dropped."""

import itertools
import select
import socket as tcp
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import count
from multiprocessing import get_context

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agent.channel
import agent.delivery
from agent.channel import ActorEnd, Addresses, LearnerEnd, local_addresses
from deploy.sockets import OPTIONS, AddressError, bind, connect
from deploy.wire import (
    Begin,
    Delivery,
    EpisodeReport,
    Experience,
    Heartbeat,
    Hello,
    Receipt,
    Undo,
    Weights,
    pack,
)
from tests.keys import GOOD, GOOD_LATER, SERVER, STRANGERS

REPORT = EpisodeReport(
    actor=0,
    car=0,
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

LOOPBACK = Addresses("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)  # one line for all


def header(version: int) -> Weights:
    return Weights(version=version, updates=10 * version, transitions=2, episodes=1, due=0, stop=False)


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


def received(learner: LearnerEnd, count: int, *actors: ActorEnd) -> list:
    """What the learner gets until it is that much and these actors have receipts for all that they sent."""
    messages = []
    for _ in range(400):
        for actor in actors:
            actor.newest_weights()
        messages += learner.receive(wait_ms=20)
        learner.inbox.saved()
        if len(messages) >= count and not any(len(actor.outbox) for actor in actors):
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
    monkeypatch.setattr(agent.channel, "drain", lambda _: iter(waiting))
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
    monkeypatch.setattr(agent.delivery, "ROOM", 3)
    assert [actor.send(REPORT) for _ in range(5)] == [True] * 3 + [False] * 2
    assert actor.outbox.dropped == 2


def test_what_is_dropped_is_told_to_the_learner(learner, actor, monkeypatch):
    monkeypatch.setattr(agent.delivery, "ROOM", 0)
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


def serve(learner: LearnerEnd, actor: ActorEnd, version: int) -> None:
    """Experience goes up and weights come down, and nothing else arrives meanwhile."""
    message = Experience(episode=version, first=0, actor=actor.actor)
    assert actor.send(message, np.zeros((4, 6), np.float32))
    arrived = []
    while not arrived or actor.sent > actor.arrived:
        actor.deliver()
        arrived += [found for found, _ in learner.receive(wait_ms=20)]
    assert arrived == [message]
    assert newest(learner, actor, version).tolist() == [version] * 5


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


# -- what is no message of ours


def nonsense() -> st.SearchStrategy[list[bytes]]:
    """Frames that no correct peer has sent."""
    return st.lists(st.binary(max_size=200), min_size=1, max_size=5)


def truncated(frames: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    """The frames up to some byte."""
    ends = st.sampled_from([(i, length) for i, frame in enumerate(frames) for length in range(len(frame))])
    return ends.map(lambda end: [*frames[: end[0]], frames[end[0]][: end[1]]])


def damaged(frames: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    """The frames with one byte changed."""
    places = [(i, at) for i, frame in enumerate(frames) for at in range(len(frame))]

    def change(place: tuple[int, int], by: int) -> list[bytes]:
        changed = bytearray(frames[place[0]])
        changed[place[1]] ^= by
        return [*frames[: place[0]], bytes(changed), *frames[place[0] + 1 :]]

    return st.builds(change, st.sampled_from(places), st.integers(1, 255))


def plain(frames: list[bytes | memoryview]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


CHUNK = plain(pack(Experience(episode=0, first=0, actor=0), np.ones((2, 3), np.float32), np.array([True, False])))
SHIPPED = plain(pack(Delivery(life=5, number=0, first=0))) + CHUNK
PUBLISHED = plain(pack(header(3), np.ones(5, np.float32)))
RECEIPT = plain(pack(Receipt(life=5, before=1, saved=1, version=2)))


@pytest.fixture
def junk_to_learner(context, learner, addresses):
    """Sends frames by a raw socket and a good report after them; returns how many of them counted as malformed."""
    numbers = count()

    def send(frames: list[bytes]) -> int:
        before = learner.malformed
        stranger.send_multipart(frames)
        stranger.send_multipart([*pack(Delivery(life=1, number=next(numbers), first=0)), *pack(REPORT)])
        while REPORT not in [message for message, _ in learner.receive(wait_ms=1000)]:
            pass
        return learner.malformed - before

    with connect(context, zmq.DEALER, addresses.experience) as stranger:
        yield send


@SHARED
@given(frames=nonsense() | truncated(SHIPPED) | truncated(plain(pack(Heartbeat(1, 2)))))
def test_the_learner_counts_and_drops_what_it_cannot_read(junk_to_learner, frames):
    assert junk_to_learner(frames) == 1


@SHARED
@given(frames=damaged(SHIPPED))
def test_the_learner_goes_on_whatever_byte_is_damaged(junk_to_learner, frames):
    assert junk_to_learner(frames) in (0, 1)  # a number that is another number cannot be told from a good one


@SHARED
@given(numbers=st.tuples(st.integers(2, 2**64 - 1), st.integers(0, 2**64 - 1)))  # life 1 is that of the good report
def test_the_learner_goes_on_however_large_a_number_is(junk_to_learner, numbers):
    """The number after the largest that a message can hold has no place in a receipt."""
    shipped = [*pack(Delivery(life=2, number=numbers[0], first=numbers[1])), *CHUNK]
    assert junk_to_learner(plain(shipped)) == (max(numbers) >= 2**63)
    last = [*pack(Delivery(life=numbers[0], number=numbers[1], first=numbers[1])), *CHUNK]
    assert junk_to_learner(plain(last)) == (max(numbers) >= 2**63)


GREETING = bytes.fromhex("ff00000000000000007f0300") + b"NULL".ljust(20, b"\0") + bytes(32)  # ZMTP 3.0, RFC 23
READY = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
FRAME_WITHOUT_END = b"\x02" + (2**60).to_bytes(8, "big") + b"junk"


@pytest.mark.parametrize("keys", [None, SERVER], ids=["without keys", "with keys"])
@pytest.mark.parametrize(
    "payload",
    [
        b"GET / HTTP/1.1\r\nHost: learner\r\n\r\n" * 20,
        np.random.default_rng(0).bytes(100_000),
        GREETING[:20],
        GREETING + np.random.default_rng(1).bytes(1000),
        GREETING + READY + FRAME_WITHOUT_END,
    ],
    ids=["http", "noise", "half a greeting", "noise after the greeting", "a frame without end"],
)
def test_who_does_not_even_speak_zeromq_harms_nobody(context, keys, payload):
    with closing(LearnerEnd(context, LOOPBACK, keys)) as learner, ExitStack() as strangers:
        for address in learner.addresses:
            host, port = address.removeprefix("tcp://").split(":")
            stranger = strangers.enter_context(tcp.create_connection((host, int(port))))
            with suppress(ConnectionError):  # hung up on before all was sent
                stranger.sendall(payload)
                while keys and stranger.recv(65536):  # with keys nobody stays who cannot show one
                    pass
        with closing(ActorEnd(context, learner.addresses, keys=keys and GOOD)) as actor:
            for version in range(1, 10):
                serve(learner, actor, version)
        assert keys is None or learner.malformed == 0


@pytest.fixture
def junk_to_actor(context, addresses):
    """Publishes frames by a raw socket and good weights after them; returns what counted as malformed and what came."""
    versions = count(1)

    def publish(frames: list[bytes]) -> tuple[int, list[int]]:
        before, version, found = actor.malformed, next(versions), []
        learner.send_multipart(frames)
        learner.send_multipart(pack(header(version), np.full(5, version, np.float32)))
        while version not in found:
            newest = actor.newest_weights(wait_ms=1000)
            if newest is not None:
                assert newest[1].tolist() == [newest[0].version] * 5
                found.append(newest[0].version)
        return actor.malformed - before, found

    with (
        bind(context, zmq.XPUB, addresses.weights, queue=256) as learner,
        closing(ActorEnd(context, addresses, size=5)) as actor,
    ):
        while not learner.poll(10):
            actor.newest_weights()  # its subscription leaves when it looks
        assert learner.recv() == b"\x01"
        yield publish


@SHARED
@given(frames=nonsense() | truncated(PUBLISHED))
def test_an_actor_counts_and_drops_weights_that_it_cannot_read(junk_to_actor, frames):
    assert junk_to_actor(frames)[0] == 1


@pytest.mark.parametrize(
    "arrays",
    [
        [],
        [np.ones(4, np.float32)],
        [np.ones(6, np.float32)],
        [np.ones(0, np.float32)],
        [np.ones((5, 1), np.float32)],
        [np.ones(5, np.int64)],
        [np.ones(5, np.uint8)],
        [np.ones(5, np.float32), np.ones(5, np.float32)],
        [np.array([1, 1, np.nan, 1, 1], np.float32)],
        [np.array([1, 1, 1, 1, -np.inf], np.float32)],
    ],
    ids=["none", "short", "long", "empty", "2-d", "int64", "uint8", "two arrays", "nan", "infinite"],
)
def test_an_actor_counts_and_drops_weights_that_it_could_not_drive_by(junk_to_actor, arrays):
    malformed, found = junk_to_actor(plain(pack(header(77), *arrays)))
    assert malformed == 1
    assert 77 not in found


def test_good_weights_count_though_bad_ones_came_after_them(context, addresses):
    with (
        bind(context, zmq.PUB, addresses.weights, queue=256) as learner,
        closing(ActorEnd(context, addresses)) as actor,
    ):
        while (found := actor.newest_weights(wait_ms=20)) is None:
            learner.send_multipart(pack(header(1), np.ones(5, np.float32)))
        while actor.malformed == 0:
            learner.send_multipart(pack(header(2), np.ones(5, np.float32)))
            learner.send_multipart([b"junk"])
            found = actor.newest_weights(wait_ms=1000) or found
    assert found[0].version == 2


@SHARED
@given(frames=nonsense() | truncated(RECEIPT))
def test_an_actor_counts_and_drops_receipts_that_it_cannot_read(line_to_actor, frames):
    assert line_to_actor(frames) == 1


@SHARED
@given(frames=damaged(RECEIPT))
def test_an_actor_goes_on_whatever_byte_of_a_receipt_is_damaged(line_to_actor, frames):
    assert line_to_actor(frames) in (0, 1)


@pytest.fixture
def line_to_actor(context, addresses):
    """Answers a report by frames and a good receipt after them; returns how many of them counted as malformed."""
    numbers = count(1)

    def answer(frames: list[bytes]) -> int:
        before, number = actor.malformed, next(numbers)
        assert actor.send(REPORT)
        while not learner.poll(10):
            actor.deliver()  # the line may not stand yet
        sender, *_ = learner.recv_multipart()
        learner.send_multipart([sender, *frames])
        receipt = Receipt(life=actor.outbox.life, before=number, saved=number, version=1)
        learner.send_multipart([sender, *pack(receipt)])
        while len(actor.outbox):
            actor.newest_weights(wait_ms=5)
        return actor.malformed - before

    with (
        bind(context, zmq.ROUTER, addresses.experience, queue=256) as learner,
        closing(ActorEnd(context, addresses)) as actor,
    ):
        yield answer


def test_begin_and_undo_are_never_dropped(learner, actor, monkeypatch):
    monkeypatch.setattr(agent.delivery, "ROOM", 1)
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
