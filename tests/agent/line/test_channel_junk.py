"""What is no message of ours is counted and dropped at both ends of the line, and harms nobody."""

import socket as tcp
from contextlib import ExitStack, closing, suppress
from itertools import count

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.line.channel import ActorEnd, Addresses, LearnerEnd
from deploy.sockets import bind, connect
from deploy.wire import (
    Delivery,
    Experience,
    Heartbeat,
    Receipt,
    pack,
)
from tests.agent.lines import REPORT, header, serve
from tests.keys import GOOD, SERVER

LOOPBACK = Addresses("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)  # one line for all


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
