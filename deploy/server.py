"""The policy server: camera frames in, actions out, whatever else comes is refused and counted."""

import time
from collections import Counter, deque
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zmq
from numpy.typing import NDArray
from rich.console import Console

from deploy.policy import OnnxPolicy
from deploy.signals import interruptible
from deploy.sockets import bind, drain
from deploy.wire import Act, Action, Hello, Message, PolicyInfo, Refusal, WireError, pack, unpack

WARM_UP_CALLS = 20
QUEUE = 64  # messages per client; short, as all of them are taken every turn
OVERSHOOT = 1e-4  # what rounding may add to a saturated tanh
LATENCIES = 10_000  # the newest ones are kept for the closing line
ANSWERS = ("action", "policyinfo")  # what is no refusal


@dataclass(frozen=True)
class ServeConfig:
    policy: Path = Path("runs/demo/policy.onnx")  # ONNX file to serve, as written by `lapwing export`
    bind: str = "tcp://127.0.0.1:5590"  # address to listen on: tcp on loopback, or ipc:///PATH


class Request(NamedTuple):
    act: Act
    state: NDArray[np.float32]
    image: NDArray[np.uint8]


def serve(config: ServeConfig) -> None:
    """Serve a policy until Ctrl-C or SIGTERM. Raises PolicyError, AddressError."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    with interruptible(), suppress(KeyboardInterrupt):
        policy = OnnxPolicy.load(config.policy)
        warm_up(policy)
        with zmq.Context() as context, closing(bind(context, zmq.ROUTER, config.bind, QUEUE)) as socket:
            server = PolicyServer(policy, socket)
            console.print(f"serving {describe(policy)} on {socket.getsockopt_string(zmq.LAST_ENDPOINT)}; Ctrl-C ends")
            try:
                server.run()
            finally:
                console.print(server.report())


def warm_up(policy: OnnxPolicy) -> None:
    """Run the policy on nothing, so that the first frame is answered as fast as all others."""
    spec = policy.spec
    image = np.zeros((spec.image_height, spec.image_width, 3), np.uint8)
    for _ in range(WARM_UP_CALLS):
        policy(image, np.zeros(spec.state_size, np.float32))


def describe(policy: OnnxPolicy) -> str:
    spec = policy.spec
    size, rate_hz = f"{spec.image_width}×{spec.image_height}", 1 / spec.period_s
    return f"policy {policy.id} of run {spec.run} ({size} camera, {rate_hz:g} Hz)"


class PolicyServer:
    """Answers each client's newest frame by an action; `counts` says what became of every message."""

    def __init__(self, policy: OnnxPolicy, socket: zmq.Socket):
        self.counts: Counter[str] = Counter()
        self._policy = policy
        self._socket = socket
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES)
        self._started_at_s = time.monotonic()

    def run(self) -> None:
        while True:
            self._socket.poll()
            self.turn()

    def turn(self) -> None:
        """Answer all that has arrived by now."""
        waiting: dict[bytes, Request] = {}
        superseded: list[tuple[bytes, Act]] = []
        for client, *frames in drain(self._socket):
            request = self._read(client, frames)
            if request is None:
                continue
            if client in waiting:
                superseded.append((client, waiting[client].act))
            waiting[client] = request
        for client, request in waiting.items():
            self._send(client, self._answer(request))
        for client, act in superseded:
            self._send(client, Refusal(act.seq, "superseded", "a newer frame has arrived"))

    def report(self) -> str:
        """What was done so far, in one line."""
        minutes = (time.monotonic() - self._started_at_s) / 60
        p50, p99 = np.percentile(self._latencies_s or [0.0], [50, 99]) * 1e3
        refused = ", ".join(f"{n} {what}" for what, n in self.counts.items() if what not in ANSWERS) or "none"
        return (
            f"served {self.counts['action']} actions in {minutes:.1f} min, "
            f"inference {p50:.2f} ms median, {p99:.2f} ms p99; refused: {refused}"
        )

    def _read(self, client: bytes, frames: list[bytes]) -> Request | None:
        """The request to act in these frames; anything else is answered at once."""
        try:
            message, arrays = unpack(frames, Hello | Act)
        except WireError as error:
            self._send(client, Refusal(None, "malformed", str(error)[:200]))
            return None
        if isinstance(message, Hello):
            self._send(client, PolicyInfo(self._policy.spec, self._policy.id))
            return None
        if (found := [(a.dtype.str, a.shape) for a in arrays]) != self._expected():
            self._send(client, Refusal(message.seq, "mismatch", f"{found}, expected {self._expected()}"))
            return None
        return Request(message, *arrays)

    def _expected(self) -> list[tuple[str, tuple[int, ...]]]:
        spec = self._policy.spec
        return [("<f4", (spec.state_size,)), ("|u1", (spec.image_height, spec.image_width, 3))]

    def _answer(self, request: Request) -> Action | Refusal:
        started_at_s = time.perf_counter()
        action, novelty, _ = self._policy.answer(request.image, request.state)
        inference_s = time.perf_counter() - started_at_s
        if not np.all(np.abs(action) <= 1 + OVERSHOOT):  # also true of NaN
            return Refusal(request.act.seq, "invalid", f"the policy answered {action}, expected [-1, 1]")
        self._latencies_s.append(inference_s)
        steering, speed = np.clip(action, -1, 1).tolist()
        act = request.act
        return Action(act.seq, act.captured_at_s, (steering, speed), self._policy.id, inference_s, novelty)

    def _send(self, client: bytes, reply: Message) -> None:
        self.counts[reply.code if isinstance(reply, Refusal) else type(reply).__name__.lower()] += 1
        self._socket.send_multipart([client, *pack(reply)])
