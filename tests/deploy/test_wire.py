"""Messages survive the wire exactly; anything else is refused by a WireError."""

from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploy.wire import (
    MAX_ARRAY_BYTES,
    VERSION,
    Act,
    Action,
    Begin,
    Delivery,
    EpisodeReport,
    Experience,
    Heartbeat,
    Hello,
    PolicyInfo,
    Receipt,
    Refusal,
    Undo,
    Weights,
    WireError,
    pack,
    unpack,
)
from tests.deploy.policies import SPEC

ANY = (
    Hello
    | PolicyInfo
    | Act
    | Action
    | Refusal
    | Heartbeat
    | Delivery
    | Receipt
    | Experience
    | EpisodeReport
    | Begin
    | Undo
    | Weights
)

numbers = st.integers(0, 2**62)
actors = st.integers(0, 2**16 - 1)
floats = st.floats(allow_nan=False)
sessions = st.integers(0, 2**53 - 1)
maybe = st.none() | floats
words = st.text(max_size=20)
messages = st.one_of(
    st.builds(Hello),
    st.builds(PolicyInfo, spec=st.just(SPEC), policy_id=words, session=sessions),
    st.builds(Act, seq=numbers, captured_at_s=floats),
    st.builds(Action, numbers, floats, st.tuples(floats, floats), words, floats, sessions, maybe, maybe),
    st.builds(Refusal, st.none() | numbers, st.sampled_from(["superseded", "malformed"]), words),
    st.builds(Experience, numbers, numbers, actors),
    st.builds(
        EpisodeReport,
        actor=actors,
        car=numbers,
        episode=numbers,
        kind=st.sampled_from(["train", "test"]),
        steps=numbers,
        distance_m=floats,
        reward=floats,
        disengagement=st.none() | words,
        finished=st.booleans(),
        version=numbers,
        wall_s=floats,
    ),
    st.builds(Weights, numbers, numbers, numbers, numbers, numbers, st.booleans()),
    st.builds(Begin, actors, numbers),
    st.builds(Undo, actors),
    st.builds(Heartbeat, actors, numbers),
    st.builds(Delivery, numbers, numbers, numbers),
    st.builds(Receipt, numbers, numbers, numbers, numbers),
)
arrays = hnp.arrays(st.sampled_from(["|u1", "<f4", "<i8", "|b1"]), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))


def header(message: object = None, version: int = VERSION, arrays: object = ()) -> bytes:
    content = {"type": "hello"} if message is None else message
    return msgspec.msgpack.encode({"version": version, "message": content, "arrays": arrays})


def reason(frames: list[bytes], kind: object = ANY) -> str:
    with pytest.raises(WireError) as caught:
        unpack(frames, kind)
    return caught.value.reason


@given(messages, st.lists(arrays, max_size=3))
def test_whatever_is_packed_is_unpacked_unchanged(message, arrays):
    frames = [bytes(frame) for frame in pack(message, *arrays)]
    received, received_arrays = unpack(frames, ANY)
    assert received == message
    for sent, arrived in zip(arrays, received_arrays, strict=True):
        assert sent.dtype == arrived.dtype
        assert sent.shape == arrived.shape
        assert sent.tobytes() == arrived.tobytes()


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_arbitrary_bytes_raise_nothing_but_a_wire_error(frames):
    with pytest.raises(WireError):
        unpack(frames, ANY)


@given(messages, st.lists(arrays, max_size=2), st.data())
def test_a_damaged_message_raises_nothing_but_a_wire_error(message, arrays, data):
    frames = [bytearray(frame) for frame in pack(message, *arrays)]
    damaged = data.draw(st.sampled_from([frame for frame in frames if frame]))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(WireError):  # the damage may also yield another message of ours
        unpack([bytes(frame) for frame in frames], ANY)


def test_arrays_are_views_of_the_frames_and_not_copies():
    image = np.arange(12, dtype=np.uint8)
    head, buffer = pack(Experience(1, 2, 3), image)
    image[0] = 99
    assert buffer[0] == 99
    frame = bytearray(buffer)
    _, (received,) = unpack([head, memoryview(frame)], Experience)
    frame[1] = 77
    assert received[1] == 77
    assert not received.flags.writeable


def test_each_fault_has_its_reason():
    assert reason([]) == "header"
    assert reason([b"\x00" * 100_000]) == "header"
    assert reason([b"\x91" * 60_000]) == "header"  # nested deeper than a parser can follow
    assert reason([header(version=VERSION + 1, message={"type": "unheard of"})]) == "version"
    assert reason([header({"type": "shutdown"})]) == "message"
    assert reason([header({"type": "hello", "surprise": 1})]) == "message"
    assert reason([header({"type": "act", "seq": -1, "captured_at_s": 0.0})]) == "message"
    assert reason([header()], Act) == "message"
    assert reason([header(), b"one too many"]) == "frames"
    assert reason([header(arrays=[["<f4", [2]]])]) == "frames"
    assert reason([header(arrays=[["<f4", [2]]]), b"1234567"]) == "array"
    assert reason([header(arrays=[["|b1", [1]]]), b"\x02"]) == "array"
    assert reason([header(arrays=[["<f4", [MAX_ARRAY_BYTES]]]), b""]) == "array"
    assert reason([header(arrays=[["<f4", [0] + [MAX_ARRAY_BYTES] * 7]]), b"1"]) == "array"
    assert reason([header(arrays=[["<f4", [1] * 9]]), b"1234"]) == "header"
    assert reason([header(arrays=[["<f4", [0]]] * 17), *[b""] * 17]) == "header"
    for dtype in (">f4", "<f8", "|O", "<U4", "<c8"):
        assert reason([header(arrays=[[dtype, [1]]]), b"1234"]) == "header"
    for size in (-1, 2**40, 1.5):
        assert reason([header(arrays=[["<f4", [size]]]), b"1234"]) == "header"


def test_an_array_that_may_not_travel_is_refused_when_packed():
    for array in (np.zeros(2), np.zeros(2, ">f4"), np.array([None]), np.zeros((1,) * 9, np.uint8)):
        with pytest.raises(WireError, match="cannot send"):
            pack(Hello(), array)
