"""Who may come in: libzmq asks, at each handshake with a socket that has keys, and a thread answers (ZAP, RFC 27)."""

from collections.abc import Sequence
from contextlib import suppress
from threading import Thread
from weakref import WeakKeyDictionary

import zmq
from zmq.utils import z85

from deploy.keys import ServerKeys

ADDRESS = "inproc://zeromq.zap.01"  # where libzmq asks; there is one in each context
YES, NO = (b"200", b"OK"), (b"400", b"key not allowed")


class Gate:
    """Lets in, to each server of a context, the clients that its keys name; ends when the context is terminated."""

    def __init__(self, context: zmq.Context) -> None:
        self._clients: dict[bytes, frozenset[bytes]] = {}  # public keys of clients, by that of the server
        # A shadow: the context itself would close the socket from its own thread, while this one waits on it.
        socket = zmq.Context.shadow(context.underlying).socket(zmq.REP)
        socket.linger = 0
        socket.bind(ADDRESS)
        Thread(target=self._run, args=(socket,), name="gate", daemon=True).start()

    def admit(self, socket: zmq.Socket, keys: ServerKeys) -> None:
        """Have a socket that is yet to be bound encrypt, and refuse whoever has none of the clients' keys."""
        self._clients[keys.own.public] = keys.clients
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, keys.own.public)  # tells us which server is meant
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # if we do not answer nobody comes in (default: everybody)

    def _run(self, socket: zmq.Socket) -> None:
        with socket, suppress(zmq.ContextTerminated):
            while True:
                socket.send_multipart(self._answer(socket.recv_multipart()))

    def _answer(self, request: Sequence[bytes]) -> list[bytes]:
        version, number, server, _address, _identity, mechanism, *credentials = request
        allowed = self._clients.get(server, frozenset())
        known = mechanism == b"CURVE" and z85.encode(credentials[0]) in allowed
        return [version, number, *(YES if known else NO), b"", b""]


_gates: WeakKeyDictionary[zmq.Context, Gate] = WeakKeyDictionary()


def gate_of(context: zmq.Context) -> Gate:
    """The gate of a context, which has one at most."""
    if context not in _gates:
        _gates[context] = Gate(context)
    return _gates[context]
