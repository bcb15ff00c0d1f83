"""The messages that travel between car and policy server, and between actors and learner.

On the wire a message is one ZeroMQ multipart: a msgpack header (protocol version, the message, dtype and
shape of each array), then each array as a raw frame, which is read in place. Nothing that arrives is run.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from secrets import randbits
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from deploy.policy_spec import PolicySpec

VERSION = 3
NEVER = b"\xc1"  # is no msgpack
MAX_HEADER_BYTES = 64 * 1024
MAX_ARRAY_BYTES = 32 * 1024 * 1024  # a camera frame is 12 KB, the weights of a large agent 4 MB

Dtype = Literal["|u1", "<f4", "<i8", "|b1"]
Length = Annotated[int, Meta(ge=0, le=MAX_ARRAY_BYTES)]
Shape = Annotated[tuple[Length, ...], Meta(max_length=8)]
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # and the next one can still be written; msgpack ends at 2⁶⁴
Session = Annotated[int, Meta(ge=0, lt=2**53)]  # what every language can tell apart, also with floats alone
ActorNumber = Annotated[int, Meta(ge=0, le=0xFFFF)]
Array = NDArray[Any]


class WireError(ValueError):
    """What arrived is not a message of ours; `reason` says in one word what is wrong with it."""

    def __init__(self, reason: Literal["header", "version", "message", "frames", "array"], detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Message(Struct, frozen=True, forbid_unknown_fields=True, tag=str.lower):
    """Base of all messages; the tag that tells them apart is the lower-case class name."""


class Hello(Message, frozen=True):
    """Car to server: which policy do you serve? My frames count anew from here."""


class PolicyInfo(Message, frozen=True):
    """Server to car, the answer to Hello; also unasked, to everybody, when another policy begins to serve."""

    spec: PolicySpec
    policy_id: str
    session: Session  # of the server, drawn when it starts


class Act(Message, frozen=True):
    """Car to server. Arrays: state (S,) float32, image (H, W, 3) uint8 RGB."""

    seq: Number  # greater than all before it since Hello
    captured_at_s: float  # on the car's clock; the server only echoes it


class Action(Message, frozen=True):
    """Server to car, the answer to Act."""

    seq: Number
    captured_at_s: float
    action: tuple[float, float]  # steering and speed set-point in [-1, 1]
    policy_id: str
    inference_s: float
    session: Session
    novelty: float | None = None  # of the frame, see deploy.policy.Answer
    value: float | None = None  # of the action, as the critic sees it


class Refusal(Message, frozen=True):
    """Server to car: this request gets no action, and why."""

    seq: Number | None  # None if the request could not even be read
    code: Literal["superseded", "malformed", "version", "mismatch", "invalid", "replayed", "flooding"]
    reason: str


class Heartbeat(Message, frozen=True):
    """Actor to learner, twice a second: still here, whatever it is doing."""

    actor: ActorNumber
    dropped: Number  # messages for which it had no room, so far


class Delivery(Message, frozen=True):
    """Actor to learner: goes before each of its messages, as a frame of its own, and numbers it."""

    life: Number  # of the actor, drawn when it starts
    number: Number  # of the message in that life, from 0
    first: Number  # the oldest message that the actor still keeps


class Receipt(Message, frozen=True):
    """Learner to actor: what has arrived."""

    life: Number
    before: Number  # all messages with lesser numbers have
    saved: Number  # all with lesser ones are in a checkpoint too
    version: int  # of the newest weights; later ones have learned from these messages, if updates were due


class Experience(Message, frozen=True):
    """Actor to learner: consecutive transitions of one episode, in the arrays."""

    episode: Number
    first: Number  # step counter of the first transition
    actor: ActorNumber


class EpisodeReport(Message, frozen=True):
    """Actor to learner: how an episode ended. Arrays: none, or the (N,) float32 weights that drove it."""

    actor: ActorNumber
    car: Number  # of that actor
    episode: Number
    kind: Literal["train", "test"]
    steps: Number
    distance_m: float
    reward: float
    disengagement: str | None
    finished: bool
    version: int  # of the weights that drove
    wall_s: float


class Begin(Message, frozen=True):
    """Car to learner: an episode to learn from begins here. Remember all that you are; it may be undone."""

    actor: ActorNumber
    episode: Number


class Undo(Message, frozen=True):
    """Car to learner: be again what you were at the last Begin."""

    actor: ActorNumber


class Weights(Message, frozen=True):
    """Learner to actors. Array: all weights of the actor, (N,) float32."""

    version: int
    updates: Number
    transitions: Number
    episodes: Number
    due: Number  # updates that drivers wait for before they begin another episode
    stop: bool  # training is over


class ArrayHeader(Struct, frozen=True, array_like=True):
    dtype: Dtype
    shape: Shape

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


class Header(Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    message: msgspec.Raw
    arrays: msgspec.Raw  # ArrayHeaders, the same in every message of a kind


ArrayHeaders = Annotated[tuple[ArrayHeader, ...], Meta(max_length=16)]


class Layout(NamedTuple):
    """What an array's frame must be."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    size_bytes: int


_encode = msgspec.msgpack.Encoder().encode


@lru_cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def new_session() -> int:
    """A number that no other start of a server has drawn."""
    return randbits(53)


def pack(message: Message, *arrays: Array) -> list[bytes | memoryview]:
    """The frames of a message: its header, then each array's buffer, uncopied if contiguous.

    Raises WireError for an array whose dtype is not one of uint8, float32, int64, bool (little-endian).
    """
    before, after = _around(tuple([(array.dtype.str, array.shape) for array in arrays]))
    header = b"".join((before, _encode(message), after))
    return [header, *[array.ravel().view(np.uint8).data for array in arrays]]


def unpack(frames: Sequence[bytes | memoryview], kind: Any) -> tuple[Any, list[Array]]:
    """The message in `frames`, which must be of `kind` (a Message type or a union of them), and its arrays.

    The arrays are read-only views of the frames. Raises WireError, and nothing else, for what is malformed.
    """
    if not frames or len(frames[0]) > MAX_HEADER_BYTES:
        raise WireError("header", f"expected a header of at most {MAX_HEADER_BYTES} bytes")
    header: Header = _decode(frames[0], Header, "header")
    if header.version != VERSION:
        raise WireError("version", f"protocol version {header.version}, expected {VERSION}")
    layouts = _layouts(bytes(header.arrays))
    if len(frames) != 1 + len(layouts):
        raise WireError("frames", f"{len(frames) - 1} array frames, expected {len(layouts)}")
    message = _decode(header.message, kind, "message")
    return message, [_array(layout, frame) for layout, frame in zip(layouts, frames[1:], strict=True)]


def _decode(data: Any, kind: Any, reason: Literal["header", "message"]) -> Any:
    try:
        return _decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(reason, str(error)) from error


@lru_cache
def _around(arrays: tuple[tuple[str, tuple[int, ...]], ...]) -> tuple[bytes, bytes]:
    """What stands before and behind the message in the header of such arrays, of these dtypes and shapes."""
    headers = _encode([_array_header(*array) for array in arrays])
    before, _, behind = _encode(Header(VERSION, msgspec.Raw(NEVER), msgspec.Raw(headers))).partition(NEVER)
    return before, behind


def _array_header(dtype: str, shape: tuple[int, ...]) -> ArrayHeader:
    try:
        return msgspec.convert((dtype, shape), ArrayHeader)
    except msgspec.ValidationError as error:
        raise WireError("array", f"cannot send {dtype} {shape}: {error}") from error


@lru_cache(maxsize=32)
def _layouts(headers: bytes) -> tuple[Layout, ...]:
    """What the arrays of a message must be."""
    return tuple(map(_layout, _decode(headers, ArrayHeaders, "header")))


def _layout(header: ArrayHeader) -> Layout:
    if header.size_bytes > MAX_ARRAY_BYTES:
        raise WireError("array", f"{header.size_bytes} bytes, expected at most {MAX_ARRAY_BYTES}")
    return Layout(np.dtype(header.dtype), header.shape, header.size_bytes)


def _array(layout: Layout, frame: bytes | memoryview) -> Array:
    if layout.size_bytes != len(frame):
        raise WireError("array", f"{len(frame)} bytes, expected {layout.size_bytes} for shape {layout.shape}")
    array = np.frombuffer(frame, layout.dtype).reshape(layout.shape)
    if layout.dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
        raise WireError("array", "a bool is neither 0 nor 1")
    array.flags.writeable = False
    return array
