"""Throws messages of every kind at a real policy server while a car drives by it: `make fuzz` throws a million.

    python -m tests.fuzz --messages 1000000 --seed 0

Most are valid messages with something changed: bytes, lengths, frames, fields, sizes, versions, nesting; some are
random, some longer than allowed. A batch is as long as a client may have waiting, so that every message is really read
and must be answered; now and then a flood comes that is not. The server must not end, must not grow, must answer the
car by the right action every time, and in the slowest hundredth no later than twice the time without all this, which
is measured by turns.
"""

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import tyro
import zmq
from rich.console import Console

from deploy.policy_server.admission import ALLOWANCE, PENALTY_S
from deploy.wire import MAX_HEADER_BYTES, VERSION, Act, Action, Hello, PolicyInfo, Refusal, pack, unpack
from tests.deploy.policies import IMAGE, STATE, echo_policy
from tests.deploy.serving import Figures, serving, well_behaved

TURNS = 20  # of throwing, and of the car alone
WARM_UP = 5  # turns until memory is weighed for the first time; it is locked, so that what is reserved counts as held
LIVES = 200  # batches until a client comes back as another
EVERY_FLOOD, FLOOD = 500, 400  # batches from flood to flood, and the messages of one
SILENCE_MS = 60_000  # after which an answer is not expected any more
EXTREMES = (-1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 1.5, float("nan"), None, "x", b"x", [], {}, True)
DTYPES = ("|u1", "<f4", "<i8", "|b1", ">f4", "|O", "", "<f4" * 1000)

Frames = list[bytes]


@dataclass(frozen=True)
class FuzzConfig:
    messages: int = 1_000_000
    seed: int = 0
    car_frames: int = 200  # of the car alone, each turn


@dataclass(frozen=True)
class Found:
    """What the server did about it."""

    answers: Counter[str]  # by kind, to those who threw
    alone: list[Figures]  # of the car, turn by turn
    beside: list[Figures]  # while messages were thrown
    warm_bytes: int
    end_bytes: int
    last_line: str  # of the server

    @property
    def grown(self) -> float:
        """The part by which the server's memory has grown after the warm-up."""
        return self.end_bytes / self.warm_bytes - 1

    @property
    def slower(self) -> float:
        """How many times as long the car waits in the slowest hundredth; medians of the turns."""
        return median(f.p99_s for f in self.beside) / median(f.p99_s for f in self.alone)

    @property
    def all_right(self) -> bool:
        """Whether every frame of the car was answered, and rightly."""
        return not any(f.wrong or f.silent for f in (*self.alone, *self.beside))


def valid(rng: random.Random, seq: int) -> Frames:
    """What a car might say."""
    message = pack(Hello()) if rng.random() < 0.2 else pack(Act(seq, rng.uniform(-1e9, 1e9)), STATE, IMAGE)
    return [bytes(frame) for frame in message]


def flip(rng: random.Random, frames: Frames) -> Frames:
    at = rng.randrange(len(frames)) if rng.random() < 0.3 else 0
    damaged = bytearray(frames[at])
    for _ in range(rng.choice((1, 1, 2, 8))):
        if damaged:
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return [*frames[:at], bytes(damaged), *frames[at + 1 :]]


def cut(rng: random.Random, frames: Frames) -> Frames:
    at = rng.randrange(len(frames))
    frame = frames[at]
    other = frame[: rng.randrange(len(frame) + 1)] if rng.random() < 0.5 else frame + rng.randbytes(rng.randrange(64))
    return [*frames[:at], other, *frames[at + 1 :]]


def shuffle(rng: random.Random, frames: Frames) -> Frames:
    return [rng.choice([*frames, b""]) for _ in range(rng.randrange(1, 9))]


def field(rng: random.Random, frames: Frames) -> Frames:
    """Another value for a field, or a field more or less, or another version."""
    header = msgspec.msgpack.decode(frames[0])
    inside = rng.choice([header, header["message"]])
    name = rng.choice([*inside, "surprise"])
    if rng.random() < 0.2:
        inside.pop(name, None)
    else:
        inside[name] = rng.choice([*EXTREMES, VERSION + 1, "action", "weights", "policyinfo"])
    return [encoded(header), *frames[1:]]


def sizes(rng: random.Random, frames: Frames) -> Frames:
    """Other arrays than those that follow."""
    header = msgspec.msgpack.decode(frames[0])
    shapes = [[rng.choice((0, 1, 3, 6, 64, 2**20, 2**40, -1)) for _ in range(rng.randrange(10))] for _ in range(3)]
    header["arrays"] = [[rng.choice(DTYPES), shape] for shape in shapes[: rng.randrange(4)]]
    return [encoded(header), *frames[1:]]


def resize(rng: random.Random, frames: Frames) -> Frames:
    """Sound arrays, but of another number, type and size than the policy takes."""
    seq = msgspec.msgpack.decode(frames[0])["message"].get("seq", 0)
    shapes = [tuple(rng.choice((0, 1, 3, 6, 20)) for _ in range(rng.randrange(4))) for _ in range(rng.randrange(4))]
    arrays = [np.zeros(shape, rng.choice(("|u1", "<f4", "|b1"))) for shape in shapes]
    return [bytes(frame) for frame in pack(Act(seq, 0.0), *arrays)]


def nest(rng: random.Random, frames: Frames) -> Frames:
    """Lists or maps in one another, deeper than a parser can follow."""
    opening = rng.choice((b"\x91", b"\x81\xa1x", b"\xdc\xff\xff", b"\xdf\xff\xff\xff\xff"))
    depth = rng.choice((10, 1000, MAX_HEADER_BYTES // len(opening)))
    return [opening * depth, *frames[1:]]


def noise(rng: random.Random, frames: Frames) -> Frames:
    return [rng.randbytes(rng.choice((0, 1, 5, 50, 500))) for _ in range(rng.randrange(1, 6))]


def long(rng: random.Random, frames: Frames) -> Frames:
    """As long as a frame may be."""
    return [*frames[:-1], bytes(rng.randrange(MAX_HEADER_BYTES - 100, MAX_HEADER_BYTES))]


def encoded(header: object) -> bytes:
    return msgspec.msgpack.encode(header)


MUTATIONS: dict[Callable[[random.Random, Frames], Frames], int] = {
    flip: 30,
    cut: 10,
    shuffle: 10,
    field: 20,
    sizes: 8,
    resize: 5,
    nest: 3,
    noise: 10,
    long: 1,
    lambda rng, frames: frames: 15,
}


class Thrower:
    """Throws batches, as many clients one after the other, and counts what comes back."""

    def __init__(self, context: zmq.Context, address: str, seed: int) -> None:
        self.answers: Counter[str] = Counter()
        self._context, self._address = context, address
        self._rng = random.Random(seed)
        self._seq = 0
        self._socket = self._new()

    def batch(self, number: int) -> None:
        """Throw as many as may wait and take the answer to each."""
        if number % LIVES == LIVES - 1:
            self._new_life()
        for _ in range(ALLOWANCE):
            self._socket.send_multipart(self._message())
        for _ in range(ALLOWANCE):
            self._take()

    def flood(self) -> None:
        """Throw far more, and be ignored for it."""
        for _ in range(FLOOD):
            self._socket.send_multipart(self._message())
        time.sleep(2 * PENALTY_S)
        self._new_life()

    def close(self) -> None:
        self._socket.close()

    def _message(self) -> Frames:
        self._seq += 1
        (mutate,) = self._rng.choices(list(MUTATIONS), MUTATIONS.values())
        return mutate(self._rng, valid(self._rng, self._seq))

    def _take(self) -> None:
        if not self._socket.poll(SILENCE_MS):
            raise AssertionError(f"a message was not answered; so far {self.answers}")
        reply = unpack(self._socket.recv_multipart(), PolicyInfo | Action | Refusal)[0]
        self.answers[reply.code if isinstance(reply, Refusal) else type(reply).__name__.lower()] += 1

    def _new_life(self) -> None:
        """Leave by a frame that is too long, for which the server cuts the connection, and come back as another."""
        self._socket.send(bytes(MAX_HEADER_BYTES + 1))  # alone: libzmq aborts who closes in the middle of a message
        self._socket.close(linger=1000)
        self._socket = self._new()

    def _new(self) -> zmq.Socket:
        socket = self._context.socket(zmq.DEALER)
        socket.set_hwm(2 * FLOOD)
        socket.linger = 0
        socket.connect(self._address)
        return socket


def fuzz(config: FuzzConfig, tell: Callable[[str], None] = lambda line: None) -> Found:
    """Throw that many messages at a server beside a car. Raises AssertionError if one was not answered."""
    with (
        tempfile.TemporaryDirectory(prefix="lapwing-fuzz-") as folder,
        serving(echo_policy(Path(folder) / "policy.onnx")) as server,
        well_behaved(server.address) as car,
        zmq.Context() as context,
    ):
        car.over(config.car_frames)  # warms up, too
        thrower = Thrower(context, server.address, config.seed)
        alone, beside, memory = [], [], []
        try:
            for turn in range(TURNS):
                memory.append(server.resident_bytes())
                alone.append(car.over(config.car_frames))
                _throw(thrower, turn, config.messages // ALLOWANCE // TURNS)
                beside.append(car.figures())
                tell(f"{turn + 1}/{TURNS} thrown, the server holds {server.resident_bytes() >> 10} KiB")
            return Found(thrower.answers, alone, beside, memory[WARM_UP], server.resident_bytes(), server.end())
        finally:
            thrower.close()


def _throw(thrower: Thrower, turn: int, batches: int) -> None:
    for number in range(turn * batches, (turn + 1) * batches):
        thrower.batch(number)
        if number % EVERY_FLOOD == EVERY_FLOOD - 1:
            thrower.flood()


def main(config: FuzzConfig) -> int:
    tell = Console(soft_wrap=True, markup=False, highlight=False).print
    found = fuzz(config, tell)
    tell(f"answers: {dict(found.answers)}\nthe server: {found.last_line}")
    right = sum(f.right for f in (*found.alone, *found.beside))
    tell(f"memory grew by {found.grown:.1%}; {right} frames of the car answered rightly, all: {found.all_right}")
    alone_ms, beside_ms = (1e3 * median(f.p99_s for f in turns) for turns in (found.alone, found.beside))
    tell(f"the car's p99 was {alone_ms:.2f} ms alone, {beside_ms:.2f} ms beside: {found.slower:.2f} times as long")
    good = found.all_right and found.grown < 0.05 and found.slower <= 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(FuzzConfig)))
