"""ZeroMQ sockets with the options a control loop needs; libzmq's defaults wait, queue and linger too long.

Between machines they have keys (`keys.py`): what they say is encrypted, and who has no key that is allowed is refused.
"""

import errno
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import zmq

from deploy.gate import gate_of
from deploy.keys import ClientKeys, ServerKeys
from deploy.wire import MAX_ARRAY_BYTES

OPTIONS = {
    zmq.LINGER: 100,  # ms that closing waits for a last message to leave (default: for ever)
    zmq.IMMEDIATE: 1,  # queue only for peers that are there (default: also for dead ones)
    zmq.RECONNECT_IVL: 20,  # ms between attempts to find a restarted peer (default 100)
    zmq.CONNECT_TIMEOUT: 1000,  # ms until TCP tries a machine that was off anew (default: its own, soon a minute)
    zmq.HANDSHAKE_IVL: 1000,  # ms until a peer that says nothing is dropped (default 30 s)
    zmq.HEARTBEAT_IVL: 500,  # ms (default off)
    zmq.HEARTBEAT_TIMEOUT: 2000,  # ms of silence until a peer counts as dead; a loaded machine needs some
    zmq.HEARTBEAT_TTL: 2000,  # ms, the same as the peer is told
    zmq.MAXMSGSIZE: MAX_ARRAY_BYTES,  # bytes a frame (default unlimited)
}
# A heartbeat to a peer that has died aborts the process while the queue of what it sent is full (libzmq 4.3.5): so a
# DEALER, which gets no more than it has asked for, has room for more than it can ask. A SUB and a ROUTER, whose peers
# may send what they like, send none.
ANSWERS = 1000  # messages
QUIET = {
    zmq.HEARTBEAT_IVL: 0,
    zmq.TCP_KEEPALIVE: 1,  # the kernel's own heartbeats instead
    zmq.TCP_KEEPALIVE_IDLE: 1,  # s
    zmq.TCP_KEEPALIVE_INTVL: 1,  # s
    zmq.TCP_KEEPALIVE_CNT: 2,
    zmq.TCP_MAXRT: 3000,  # ms for a peer to acknowledge what it was sent, when the kernel does not ask
}
# When its peer is gone an IMMEDIATE socket drops what has arrived and nobody has read yet; in the middle of a message
# libzmq then ends the process ("Assertion failed: !_more"). A SUB, which sends nothing, has no use for it.
BY_KIND = {zmq.ROUTER: QUIET, zmq.SUB: QUIET | {zmq.IMMEDIATE: 0}}

READABLE = int(zmq.POLLIN)  # zmq's own is an Enum, whose & takes longer than the question


class AddressError(Exception):
    """A socket cannot be bound or connected to the address asked for."""

    exit_code = 2


def bind(
    context: zmq.Context,
    kind: zmq.SocketType,
    address: str,
    queue: int = 4,
    keys: ServerKeys | None = None,
    insecure: bool = False,
    max_frame_bytes: int = MAX_ARRAY_BYTES,
) -> zmq.Socket:
    """A socket that listens on tcp://host:port (port 0: any free one) or ipc:///path.

    queue: messages that wait for each peer before more are dropped or block. keys: only the clients that they name are
    let in; without them only tcp://127.0.0.1:port and ipc are allowed, unless `insecure`. max_frame_bytes: a peer that
    sends a longer one is cut off. Raises AddressError.
    """
    _check(address, lowest_port=0)
    if keys is None and not insecure:
        _refuse_beyond_loopback(address)
    socket = _socket(context, kind, queue)
    socket.setsockopt(zmq.MAXMSGSIZE, max_frame_bytes)
    if keys is not None:
        gate_of(context).admit(socket, keys)
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close()
        raise AddressError(_explain(address, error)) from error
    return socket


def connect(
    context: zmq.Context, kind: zmq.SocketType, address: str, queue: int = 4, keys: ClientKeys | None = None
) -> zmq.Socket:
    """A socket that finds its peer at `address`, now or later, and again when it was restarted.

    queue: as for `bind`. keys: it speaks with that server alone, and must be allowed there; a server that has refused
    it is not asked again. Raises AddressError for an address that can never be reached.
    """
    _check(address, lowest_port=1)
    socket = _socket(context, kind, queue)
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close()
        raise AddressError(_explain(address, error)) from error
    return socket


def drain(socket: zmq.Socket, limit: int = 256) -> Iterator[list[bytes]]:
    """The messages that have arrived by now, oldest first, without waiting; at most `limit`."""
    for _ in range(limit):
        if not int(socket.getsockopt(zmq.EVENTS)) & READABLE:  # takes a third of the time of an exception
            return
        yield socket.recv_multipart(zmq.NOBLOCK)


def _socket(context: zmq.Context, kind: zmq.SocketType, queue: int) -> zmq.Socket:
    socket = context.socket(kind)
    socket.set_hwm(queue)
    if kind == zmq.DEALER:
        socket.setsockopt(zmq.RCVHWM, max(queue, ANSWERS))
    for option, value in (OPTIONS | BY_KIND.get(kind, {})).items():
        socket.setsockopt(option, value)
    return socket


def _check(address: str, lowest_port: int) -> None:
    """Refuse what libzmq would take for something else: it reads port 99999 as 34463."""
    url = urlsplit(address)
    try:
        port = lowest_port - 1 if url.port is None else url.port
        usable = url.scheme == "ipc" or (url.scheme == "tcp" and url.hostname and port >= lowest_port)
    except ValueError:  # the port is no number from 0 to 65535
        usable = False
    if not usable:
        raise AddressError(f"address {address} cannot be used; expected tcp://HOST:PORT or ipc:///PATH")


def _refuse_beyond_loopback(address: str) -> None:
    if is_remote(address):
        raise AddressError(
            f"address {address} is not on loopback; only tcp://127.0.0.1:PORT is allowed without keys (`lapwing keys`)"
        )


def is_remote(address: str) -> bool:
    """Whether other machines than this one can reach a socket that is bound there."""
    url = urlsplit(address)
    return url.scheme == "tcp" and not _is_loopback(url.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _explain(address: str, error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"address {address} is already in use; choose another"
    return f"address {address} cannot be used: {error.strerror}"
