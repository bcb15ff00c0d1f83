"""The policy server: camera frames in, actions out, whatever else comes is refused and counted."""

import errno
import gc
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import zmq
from numpy.typing import NDArray
from rich.console import Console

from deploy.keys import ServerKeys
from deploy.policy import ONNX_FAILURES, OnnxPolicy
from deploy.policy_server.admission import ALLOWANCE, PENALTY_S, Admission
from deploy.policy_server.reload import Reloader
from deploy.policy_server.self_test import Sight, action_of, first_policy
from deploy.policy_spec import PolicySpec
from deploy.realtime import pinned, realtime, sockets_too
from deploy.signals import interruptible
from deploy.sockets import bind, drain, is_remote
from deploy.wire import (
    MAX_HEADER_BYTES,
    Act,
    Action,
    Hello,
    Message,
    PolicyInfo,
    Refusal,
    WireError,
    new_session,
    pack,
    unpack,
)

if TYPE_CHECKING:
    from deploy.dashboard.link import Link

QUEUE = 2 * ALLOWANCE  # messages per client, each way
IDLE_MS = 20  # until it is looked whether another policy is to serve, while nobody asks
PAUSE_S = 1e-4  # between two turns while a client floods; it adds to what the others wait for their answers
SWITCH_S = 5e-4  # after which the thread that tests a new policy must make way (default 5 ms)
LATENCIES = 10_000  # the newest ones are kept for the closing line
SIGHTS = 8  # the newest frames are kept, to test a new policy on
ANSWERS = ("action", "policyinfo")  # what is no refusal


@dataclass(frozen=True)
class ServeConfig:
    policy: Path = Path("runs/demo/policy.onnx")  # ONNX file to serve, as `lapwing export` writes it, also anew later
    bind: str = "tcp://127.0.0.1:5590"  # address to listen on: tcp://HOST:PORT, or ipc:///PATH
    keys: Path | None = None  # folder `server` of `lapwing keys`; only the clients named there are let in
    insecure: bool = False  # listen to other machines without keys: whoever reaches the port may ask, and listen in
    metrics_port: int | None = None  # port on loopback for Prometheus; none if not given
    dashboard: int | None = None  # port on loopback of the live dashboard, see docs/dashboard.md; none if not given
    realtime: bool = True  # run before all other programs with memory locked, where that is permitted


class Request(NamedTuple):
    act: Act
    state: NDArray[np.float32]
    image: NDArray[np.uint8]


def serve(config: ServeConfig) -> None:
    """Serve a policy until Ctrl-C or SIGTERM. Raises PolicyError, KeysError, AddressError, DashboardError."""
    console = Console(soft_wrap=True, markup=False, highlight=False)
    keys = ServerKeys.load(config.keys) if config.keys else None
    with interruptible(), suppress(KeyboardInterrupt), ExitStack() as stack:
        link = _dashboard(config, stack)
        policy = first_policy(config.policy, console.print)
        context = stack.enter_context(zmq.Context())
        for denied in stack.enter_context(realtime()) if config.realtime else ():
            console.print(f"without {denied}")
        sockets_too(context)
        socket = stack.enter_context(closing(listen(context, config.bind, policy.spec, keys, config.insecure)))
        server = PolicyServer(policy, socket)
        stack.callback(lambda: console.print(server.report()))
        reloader = stack.enter_context(Reloader(policy, config.policy, server.sights, console.print))
        if config.metrics_port is not None:
            from deploy.metrics import ServerMetrics, exposed  # a tenth of the time in which a killed server is back

            metrics = ServerMetrics(server.counts, reloader.counts, server.info)
            server.inferred = metrics.inferred
            console.print(f"metrics at {stack.enter_context(exposed(metrics.registry, config.metrics_port))}")
        successor = reloader.take
        if link:
            console.print(f"dashboard at {link.to_watch}")
            successor = _shown(link, server, reloader)
        if keys is None and is_remote(config.bind):
            console.print(f"WARNING: {config.bind} has no keys: whoever reaches it can see frames and ask for actions")
        console.print(f"serving {describe(policy)} on {socket.getsockopt_string(zmq.LAST_ENDPOINT)}; Ctrl-C ends")
        with pinned():
            server.run(successor)


def _dashboard(config: ServeConfig, stack: ExitStack) -> "Link | None":
    """The line to the page, whose process starts before this one has any priority that it could inherit."""
    if config.dashboard is None:
        return None
    from deploy.dashboard.process import opened  # only where it is wanted: a killed server is to be back soon

    return stack.enter_context(opened(config.dashboard))


def _shown(link: "Link", server: "PolicyServer", reloader: Reloader) -> Callable[[], OnnxPolicy | None]:
    """What gives another policy to serve, and before it shows what was done."""
    from deploy.dashboard.served import Served

    served = Served(link, server, reloader.counts)

    def successor() -> OnnxPolicy | None:
        served.show()
        return reloader.take()

    return successor


def listen(
    context: zmq.Context, address: str, spec: PolicySpec, keys: ServerKeys | None = None, insecure: bool = False
) -> zmq.Socket:
    """The socket of a server of such policies; see `deploy.sockets.bind`."""
    image_bytes = spec.image_height * spec.image_width * 3
    longest = max(MAX_HEADER_BYTES, image_bytes)
    socket = bind(context, zmq.ROUTER, address, QUEUE, keys, insecure, longest)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # what cannot be delivered is told (default: nobody hears of it)
    return socket


def describe(policy: OnnxPolicy) -> str:
    spec = policy.spec
    size, rate_hz = f"{spec.image_width}×{spec.image_height}", 1 / spec.period_s
    return f"policy {policy.id} of run {spec.run} ({size} camera, {rate_hz:g} Hz)"


class PolicyServer:
    """Answers each client's newest frame by an action; `counts` says what became of every message."""

    def __init__(self, policy: OnnxPolicy, socket: zmq.Socket) -> None:
        self.counts: Counter[str] = Counter()
        self.policy = policy
        self.session = new_session()
        self.inferred: Callable[[float], object] = lambda inference_s: None  # is told how long each inference took
        self._socket = socket
        self._admission = Admission()
        spec = policy.spec  # of one that takes its place later the sizes are the same
        image_shape = (spec.image_height, spec.image_width, 3)
        self._expected = [(np.dtype(np.float32), (spec.state_size,)), (np.dtype(np.uint8), image_shape)]
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES)
        self._sights: deque[Sight] = deque(maxlen=SIGHTS)
        self._started_at_s = time.monotonic()

    def run(self, successor: Callable[[], OnnxPolicy | None] = lambda: None) -> None:
        """Answer for ever. successor: gives a policy when that is to serve instead."""
        sys.setswitchinterval(SWITCH_S)
        gc.freeze()  # what was loaded stays, so that looking through it is a waste of time
        poller = zmq.Poller()  # one for all turns: a new one takes longer than to poll
        poller.register(self._socket, zmq.POLLIN)
        while True:
            poller.poll(IDLE_MS)
            if policy := successor():
                self.change(policy)
            self.turn()
            if self._admission.pressed:
                time.sleep(PAUSE_S)

    def change(self, policy: OnnxPolicy) -> None:
        """Serve this policy from now on, and tell everybody before they get an action of it."""
        self.policy = policy
        for client in self._admission.clients:
            self._send(client, self.info())

    def turn(self) -> None:
        """Answer all that has arrived by now: first by actions, and nobody before all have been heard.

        So a client that waits for its answers has no more messages in a turn than it has left open.
        """
        waiting: dict[bytes, Request] = {}
        others: list[tuple[bytes, Message]] = []
        for client, frames in self._arrived():
            request = self._read(client, frames)
            if not isinstance(request, Request):
                others.append((client, request))
                continue
            if client in waiting:
                others.append((client, Refusal(waiting[client].act.seq, "superseded", "a newer frame has arrived")))
            waiting[client] = request
        for client, request in waiting.items():
            self._send(client, self._answer(request))
        for client, reply in others:
            self._send(client, reply)

    def info(self) -> PolicyInfo:
        """Who serves."""
        return PolicyInfo(self.policy.spec, self.policy.id, self.session)

    def sights(self) -> list[Sight]:
        """The newest frames; any thread may ask."""
        return list(self._sights)

    def newest_inferences_ms(self, number: int) -> list[float]:
        """How long that many of the newest inferences took, newest first."""
        return [inference_s * 1e3 for inference_s in islice(reversed(self._latencies_s), number)]

    def report(self) -> str:
        """What was done so far, in one line."""
        minutes = (time.monotonic() - self._started_at_s) / 60
        p50, p99 = np.percentile(self._latencies_s or [0.0], [50, 99]) * 1e3
        refused = ", ".join(f"{n} {what}" for what, n in self.counts.items() if what not in ANSWERS) or "none"
        return (
            f"served {self.counts['action']} actions in {minutes:.1f} min, "
            f"inference {p50:.2f} ms median, {p99:.2f} ms p99; refused: {refused}"
        )

    def _arrived(self) -> Iterator[tuple[bytes, list[bytes]]]:
        """What has arrived by now from clients that are listened to."""
        self._admission.begin(time.monotonic())
        for client, *frames in drain(self._socket):
            verdict = self._admission.hear(client)
            if verdict == "admitted":
                yield client, frames
            elif verdict == "flooding":
                reason = f"more than {ALLOWANCE} messages waiting; what you send is dropped for {PENALTY_S:g} s"
                self._send(client, Refusal(None, "flooding", reason))
            else:
                self.counts["ignored"] += 1
            if self._admission.pressed:
                return

    def _read(self, client: bytes, frames: list[bytes]) -> Request | Message:
        """The request to act in these frames, or the answer to anything else."""
        try:
            message, arrays = unpack(frames, Hello | Act)
        except WireError as error:
            return Refusal(None, "version" if error.reason == "version" else "malformed", str(error)[:200])
        if isinstance(message, Hello):
            self._admission.greet(client)
            return self.info()
        objection = self._objection(client, message, [(a.dtype, a.shape) for a in arrays])
        return objection or Request(message, *arrays)

    def _objection(self, client: bytes, act: Act, found: list[tuple[np.dtype, tuple[int, ...]]]) -> Refusal | None:
        if not self._admission.advance(client, act.seq):
            return Refusal(act.seq, "replayed", "expected a greater seq than all since hello")
        if found != self._expected:
            return Refusal(act.seq, "mismatch", f"{_told(found)}; expected {_told(self._expected)}"[:200])
        return None

    def _answer(self, request: Request) -> Action | Refusal:
        act, policy = request.act, self.policy
        started_at_s = time.perf_counter()
        try:
            answer = policy.answer(request.image, request.state)
        except ONNX_FAILURES as error:
            return Refusal(act.seq, "invalid", f"the policy failed: {error}"[:200])
        inference_s = time.perf_counter() - started_at_s
        action = action_of(answer.action)
        if action is None:
            return Refusal(act.seq, "invalid", f"the policy answered {answer.action}, expected [-1, 1]")
        self._sights.append((request.image, request.state))
        self._latencies_s.append(inference_s)
        self.inferred(inference_s)
        told = (policy.id, inference_s, self.session, answer.novelty, answer.value)
        return Action(act.seq, act.captured_at_s, action, *told)

    def _send(self, client: bytes, reply: Message) -> None:
        kind = reply.code if isinstance(reply, Refusal) else type(reply).__name__.lower()
        try:
            self._socket.send_multipart([client, *pack(reply)], zmq.NOBLOCK)
        except zmq.Again:  # it does not read its answers
            self.counts["undelivered"] += 1
        except zmq.ZMQError as error:
            if error.errno != errno.EHOSTUNREACH:
                raise
            self.counts["undelivered"] += 1
            self._admission.forget(client)
        else:
            self.counts[kind] += 1


def _told(arrays: list[tuple[np.dtype, tuple[int, ...]]]) -> str:
    return ", ".join(f"{dtype} {shape}" for dtype, shape in arrays) or "no arrays"
