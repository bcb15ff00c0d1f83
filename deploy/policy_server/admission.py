"""Whom the policy server listens to: what it must remember of each client so that none can hurt the others.

Pure: no clock and no socket. A client that has more messages waiting than it can want answered is ignored for a while.
"""

from collections import OrderedDict
from typing import Literal

Verdict = Literal["admitted", "flooding", "ignored"]

ALLOWANCE = 8  # messages of one client in one turn; one that waits for its answers has one, after a stall a few
PENALTY_S = 0.1  # that a flooding client is not listened to; what it sent meanwhile is dropped unread
CLIENTS = 1024  # that are remembered; then the one that was silent longest is forgotten


class _Client:
    __slots__ = ("ignored_until_s", "newest", "turn", "waiting")

    def __init__(self) -> None:
        self.newest = -1  # the greatest sequence number since its last Hello
        self.turn = self.waiting = 0  # messages heard in that turn
        self.ignored_until_s = 0.0


class Admission:
    """Judges every message by its sender, turn by turn.

    `pressed`: a client that is ignored sends on. Who reads slowly now has libzmq and TCP hold that client up, and
    leaves the processor to the others.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._clients: OrderedDict[bytes, _Client] = OrderedDict()
        self._turn = 0
        self._now_s = 0.0

    @property
    def clients(self) -> list[bytes]:
        """Routing ids of those who have sent something and were not forgotten."""
        return list(self._clients)

    def begin(self, now_s: float) -> None:
        """A turn begins: from now on count anew."""
        self.pressed = False
        self._turn += 1
        self._now_s = now_s

    def hear(self, routing_id: bytes) -> Verdict:
        """What becomes of this client's next message; "flooding" is said once, when it begins to be ignored."""
        client = self._known(routing_id)
        if client.turn != self._turn:
            client.turn, client.waiting = self._turn, 0
        client.waiting += 1
        if self._now_s < client.ignored_until_s:
            self.pressed = client.waiting > 1  # ROUTER takes from all in turn, so all others had their say
            return "ignored"
        if client.waiting > ALLOWANCE:
            client.ignored_until_s = self._now_s + PENALTY_S
            return "flooding"
        return "admitted"

    def greet(self, routing_id: bytes) -> None:
        """The client counts its frames anew."""
        self._known(routing_id).newest = -1

    def advance(self, routing_id: bytes, seq: int) -> bool:
        """Whether this is a newer frame than all that the client has sent since it said hello."""
        client = self._known(routing_id)
        if seq <= client.newest:
            return False
        client.newest = seq
        return True

    def forget(self, routing_id: bytes) -> None:
        """The client is gone."""
        self._clients.pop(routing_id, None)

    def _known(self, routing_id: bytes) -> _Client:
        client = self._clients.get(routing_id)
        if client is None:
            client = self._clients[routing_id] = _Client()
            if len(self._clients) > CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(routing_id)
        return client
