"""The car's side of the policy server: ask for an action, wait no longer than the deadline, trust nothing."""

import math
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Self

import numpy as np
import zmq
from numpy.typing import NDArray

from deploy.driving.faults import Fault, Kind
from deploy.keys import ClientKeys
from deploy.policy_spec import PolicyError
from deploy.sockets import connect
from deploy.wire import Act, Action, Hello, PolicyInfo, Refusal, WireError, pack, unpack

ASK_AGAIN_S = 0.25  # a hello may have reached a server that was just killed
SILENT = Fault("silent", "silent")
REFUSALS: dict[str, Kind] = {
    "superseded": "refused",
    "malformed": "malformed",
    "version": "malformed",
    "mismatch": "foreign",
    "invalid": "invalid",
    "replayed": "stale",
    "flooding": "refused",
}


class ServerError(Exception):
    """Nobody at the address serves a policy."""

    exit_code = 2


class PolicyClient:
    """Speaks with one policy server and finds it again by itself when it was restarted with the same policy.

    `dropped` counts the replies that were not good enough to drive by; `fault` tells what the server did
    instead of giving the action that was asked for last. `agreed` is whose actions are driven by: what said hello, or
    another policy that the same server changed to under way, if a car can go on by it.
    """

    def __init__(
        self, context: zmq.Context, address: str, keys: ClientKeys | None = None, pinned: bool = False
    ) -> None:
        """keys: those of this client, if the server has some. pinned: no other policy is accepted under way."""
        self.dropped: Counter[str] = Counter()
        self.fault = SILENT
        self.agreed: PolicyInfo | None = None
        self._address = address
        self._pinned = pinned
        self._socket = connect(context, zmq.DEALER, address, keys=keys)
        self._readable, self._writable = zmq.Poller(), zmq.Poller()  # a new one each time takes longer than to poll
        self._readable.register(self._socket, zmq.POLLIN)
        self._writable.register(self._socket, zmq.POLLOUT)

    def hello(self, timeout_s: float) -> PolicyInfo:
        """Ask who serves; from then on that policy's actions are accepted, and frames count anew.

        Raises ServerError if nobody answers in time, or somebody does who does not speak our protocol.
        """
        deadline_s = time.monotonic() + timeout_s
        while (now_s := time.monotonic()) < deadline_s:
            again_s = min(now_s + ASK_AGAIN_S, deadline_s)
            if self._send(pack(Hello()), again_s) and (info := self._introduction(again_s)):
                self.agreed = info
                return info
        raise ServerError(
            f"no policy server answered at {self._address} within {timeout_s:g} s; start one with `lapwing serve`"
        )

    def act(
        self,
        seq: int,
        image: NDArray[np.uint8],
        state: NDArray[np.float32],
        captured_at_s: float,
        deadline_s: float,
    ) -> Action | None:
        """The action for this frame, or None if no valid one arrived until `deadline_s` (monotonic).

        image: (H, W, 3) uint8 RGB; state: (S,) float32; seq: greater than that of all frames since hello.
        """
        request = Act(seq, captured_at_s)
        frames = pack(request, state, image)
        self.fault = SILENT
        if not self._send(frames, deadline_s):
            return None
        while self._ready(self._readable, deadline_s):
            reply = self._receive()
            if isinstance(reply, Action) and self._is_valid(reply, request):
                return reply
            if isinstance(reply, PolicyInfo) and self._is_restarted(reply):
                self._send(frames, deadline_s)  # its answer before was of a session that we did not know
            if isinstance(reply, Refusal) and reply.seq == seq:
                return self._drop(REFUSALS[reply.code], f"refusing: {reply.reason}")
        return None

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self, poller: zmq.Poller, deadline_s: float) -> bool:
        """Whether the socket gets ready in time; not if this process itself was held up until too late."""
        wait_ms = math.ceil((deadline_s - time.monotonic()) * 1e3)
        return wait_ms > 0 and bool(poller.poll(wait_ms)) and time.monotonic() < deadline_s

    def _send(self, frames: list[bytes | memoryview], deadline_s: float) -> bool:
        """Whether there was a connection to send these frames to."""
        while time.monotonic() < deadline_s:
            with suppress(zmq.Again):  # there is no connection
                self._socket.send_multipart(frames, zmq.NOBLOCK)
                return True
            self._ready(self._writable, deadline_s)
        return False

    def _receive(self) -> Any:
        """The next reply, which has arrived; None if it is not one of ours."""
        try:
            return unpack(self._socket.recv_multipart(zmq.NOBLOCK), PolicyInfo | Action | Refusal)[0]
        except WireError as error:
            return self._drop("malformed", f"sending what we cannot read ({error})")

    def _introduction(self, deadline_s: float) -> PolicyInfo | None:
        while self._ready(self._readable, deadline_s):
            reply = self._receive()
            if isinstance(reply, PolicyInfo):
                return reply
            if isinstance(reply, Refusal):
                self._drop(REFUSALS[reply.code], f"refusing our hello ({reply.reason})")
            if not isinstance(reply, Action):
                raise ServerError(f"policy server at {self._address} is {self.fault.detail}")
        return None

    def _is_restarted(self, info: PolicyInfo) -> bool:
        """Somebody says, in the middle of a drive, who serves now; whether it is the old policy in a new session.

        The car goes on by what serves now only if that is safe.
        """
        agreed = self.agreed
        if agreed is None or info == agreed:
            return False
        if info.policy_id == agreed.policy_id:
            self.agreed = info
            return True
        if self._pinned or info.session != agreed.session:
            self._drop("foreign", f"serving another policy ({info.policy_id}, not {agreed.policy_id})")
        else:
            self._follow(agreed, info)
        return False

    def _follow(self, agreed: PolicyInfo, info: PolicyInfo) -> None:
        try:
            agreed.spec.check_successor(info.spec)
        except PolicyError as error:
            self._drop("foreign", f"serving a policy that does not fit: {error}")
        else:
            self.agreed = info

    def _is_valid(self, reply: Action, request: Act) -> bool:
        agreed = self.agreed
        if agreed is None or reply.session != agreed.session:
            self._drop("stale", "another than before: it was restarted")
            self._ask_who()
        elif (reply.seq, reply.captured_at_s) != (request.seq, request.captured_at_s):
            self._drop("stale", f"late: it answered frame {reply.seq}, not {request.seq}")
        elif reply.policy_id != agreed.policy_id:
            self._drop("foreign", f"serving another policy ({reply.policy_id}, not {agreed.policy_id})")
        elif not all(math.isfinite(a) and -1 <= a <= 1 for a in reply.action):
            self._drop("invalid", f"answering {reply.action}, outside [-1, 1]")
        else:
            return True
        return False

    def _ask_who(self) -> None:
        """Say hello without waiting; the answer is understood whenever it comes."""
        with suppress(zmq.Again):
            self._socket.send_multipart(pack(Hello()), zmq.NOBLOCK)

    def _drop(self, kind: Kind, detail: str) -> None:
        self.dropped[kind] += 1
        self.fault = Fault(kind, detail)
