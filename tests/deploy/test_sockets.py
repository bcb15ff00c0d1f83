"""Sockets carry the options of a control loop, refuse addresses in plain words, and strangers if they have keys."""

import json
import socket as tcp
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from deploy.gate import gate_of
from deploy.keys import ClientKeys, ServerKeys
from deploy.sockets import OPTIONS, AddressError, bind, connect, drain
from tests.keys import GOOD, SERVER, STRANGERS, pair

ROOT = Path(__file__).parents[2]
OVER = [zmq.Event.HANDSHAKE_SUCCEEDED, zmq.Event.HANDSHAKE_FAILED_NO_DETAIL, zmq.Event.HANDSHAKE_FAILED_PROTOCOL]
OVER += [zmq.Event.HANDSHAKE_FAILED_AUTH]


@pytest.fixture
def context():
    with zmq.Context() as context:
        yield context


def test_no_option_that_would_hang_or_overfill_is_left_at_its_default(context):
    with bind(context, zmq.ROUTER, "tcp://127.0.0.1:0") as socket:
        assert socket.getsockopt(zmq.RCVHWM) == socket.getsockopt(zmq.SNDHWM) == 4
        assert 0 < socket.getsockopt(zmq.MAXMSGSIZE) <= 2**26
        assert 0 < socket.getsockopt(zmq.HANDSHAKE_IVL) <= 1000
        assert 0 <= socket.getsockopt(zmq.LINGER) <= 500
        assert socket.getsockopt(zmq.IMMEDIATE) == 1
        assert 0 < socket.getsockopt(zmq.RECONNECT_IVL) < 100
        assert 0 < socket.getsockopt(zmq.CONNECT_TIMEOUT) <= 1000


def test_only_a_socket_whose_peers_cannot_fill_its_queue_sends_heartbeats(context):
    with (
        connect(context, zmq.DEALER, "tcp://127.0.0.1:5") as dealer,
        bind(context, zmq.ROUTER, "tcp://127.0.0.1:0") as router,
        connect(context, zmq.SUB, "tcp://127.0.0.1:5") as sub,
    ):
        assert 0 < dealer.getsockopt(zmq.HEARTBEAT_IVL) < dealer.getsockopt(zmq.HEARTBEAT_TIMEOUT)
        assert router.getsockopt(zmq.HEARTBEAT_IVL) == sub.getsockopt(zmq.HEARTBEAT_IVL) == 0


SLOW_READER = """
import sys, time, zmq
from deploy.sockets import bind, connect, drain
MESSAGE = [b"head", bytes(1_000_000)]

def lengths_read(address):
    with zmq.Context() as context, zmq.Context() as far, bind(far, zmq.PUB, address, queue=1) as publisher:
        with connect(context, zmq.SUB, address, queue=4) as reader:
            reader.subscribe(b"")
            while not reader.poll(5):
                publisher.send_multipart(MESSAGE)
            for _ in range(50):  # the last ones find no room, and one is half on its way
                publisher.send_multipart(MESSAGE)
                time.sleep(0.002)
            publisher.close()
            while reader.poll(50):
                yield from ([len(frame) for frame in message] for message in drain(reader))

for number in range(12):  # it is decided by chance where the last message is
    print(list(lengths_read(sys.argv[1] + str(number))))
"""


def test_who_reads_slowly_has_all_that_arrived_of_a_publisher_that_is_gone_and_no_half_of_a_message(tmp_path):
    command = [sys.executable, "-c", SLOW_READER, f"ipc://{tmp_path}/"]
    reader = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert reader.returncode == 0, reader.stderr
    for arrived in map(json.loads, reader.stdout.splitlines()):
        assert len(arrived) >= 4  # as many as it has room for
        assert all(lengths == [4, 1_000_000] for lengths in arrived)


DEAF = """
import sys, zmq
from deploy.sockets import bind
with zmq.Context() as context, bind(context, zmq.ROUTER, sys.argv[1]) as socket:
    print("ready", flush=True)
    sys.stdin.readline()
"""
FLOOD = """
import sys, zmq
from deploy.sockets import connect
with zmq.Context() as context, connect(context, zmq.DEALER, sys.argv[1]) as socket:
    assert socket.poll(30_000, zmq.POLLOUT)
    while socket.poll(200, zmq.POLLOUT):
        socket.send(bytes(20_000))
    print("full", flush=True)
    sys.stdin.readline()
"""


def test_a_client_that_dies_while_its_queue_is_full_does_not_take_the_server_with_it(tmp_path):
    """With heartbeats the server's process would abort at the next one."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    address = f"ipc://{tmp_path}/s"
    with subprocess.Popen([sys.executable, "-c", DEAF, address], **pipes) as server:
        assert server.stdout.readline() == "ready\n"
        with subprocess.Popen([sys.executable, "-c", FLOOD, address], **pipes) as client:
            assert client.stdout.readline() == "full\n"
            client.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(2 * OPTIONS[zmq.HEARTBEAT_IVL] / 1e3)
        server.communicate("end\n")
        assert server.returncode == 0


def test_a_port_in_use_is_named(context):
    with bind(context, zmq.ROUTER, "tcp://127.0.0.1:0") as socket:
        address = socket.last_endpoint.decode()
        with pytest.raises(AddressError, match=f"{address} is already in use; choose another"):
            bind(context, zmq.ROUTER, address)


@contextmanager
def monitored(socket: zmq.Socket) -> Iterator[zmq.Socket]:
    """Where libzmq tells what becomes of the socket's connections."""
    monitor = socket.get_monitor_socket()
    try:
        yield monitor
    finally:
        socket.disable_monitor()
        monitor.close()


def wait_for(monitor: zmq.Socket, *events: zmq.Event) -> zmq.Event:
    """The first of these events that happens."""
    while (happened := recv_monitor_message(monitor)["event"]) not in events:
        pass
    return happened


def endpoint(socket: zmq.Socket) -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


def exchange(server: zmq.Socket, client: zmq.Socket, message: bytes) -> None:
    """One message up and one down, and nothing else beside."""
    client.send(message)
    sender, arrived = server.recv_multipart()
    assert arrived == message
    server.send_multipart([sender, message[::-1]])
    assert client.recv() == message[::-1]


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "192.168.1.7", "eth0", "[::]", "example.org"])
def test_without_keys_only_loopback_is_bound(context, host):
    with pytest.raises(AddressError, match=r"only tcp://127.0.0.1:PORT is allowed without keys"):
        bind(context, zmq.ROUTER, f"tcp://{host}:0")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "5590",
        "nonsense",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:x",
        "udp://127.0.0.1:5",
    ],
)
def test_an_address_that_is_none_is_refused(context, address):
    for open_socket in (bind, connect):
        with pytest.raises(AddressError, match=r"cannot be used; expected tcp://HOST:PORT or ipc:///PATH"):
            open_socket(context, zmq.DEALER, address)


def test_what_the_system_refuses_is_explained(context):
    with pytest.raises(AddressError, match="No such file or directory"):
        bind(context, zmq.ROUTER, "ipc:///there/is/no/such/folder/socket")
    with pytest.raises(AddressError, match=r"tcp://127.0.0.1:0 cannot be used"):
        connect(context, zmq.DEALER, "tcp://127.0.0.1:0")


def test_draining_takes_all_that_has_arrived_and_does_not_wait_for_more(context, tmp_path):
    address = f"ipc://{tmp_path}/socket"
    with (
        bind(context, zmq.PULL, address, queue=8) as pull,
        connect(context, zmq.PUSH, address, queue=8) as push,
    ):
        for number in (b"1", b"2", b"3"):
            push.send_multipart([number, b"array"])
        assert pull.poll(5000)
        received = list(drain(pull))
        while len(received) < 3 and pull.poll(5000):
            received += drain(pull)
        assert [frames[0] for frames in received] == [b"1", b"2", b"3"]
        assert list(drain(pull)) == []


# -- keys


@pytest.mark.parametrize("host", ["*", "0.0.0.0"])
def test_with_keys_more_than_loopback_is_bound(context, host):
    with bind(context, zmq.ROUTER, f"tcp://{host}:0", keys=SERVER) as socket:
        port = endpoint(socket).rpartition(":")[2]
        with connect(context, zmq.DEALER, f"tcp://127.0.0.1:{port}", keys=GOOD) as client:
            exchange(socket, client, b"hello")


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_is_refused_and_a_client_that_is_allowed_served_before_and_after(context, stranger):
    with (
        bind(context, zmq.ROUTER, "tcp://127.0.0.1:0", keys=SERVER) as server,
        monitored(server) as monitor,
        connect(context, zmq.DEALER, endpoint(server), keys=GOOD) as client,
    ):
        assert wait_for(monitor, *OVER) == zmq.Event.HANDSHAKE_SUCCEEDED
        exchange(server, client, b"before")
        with connect(context, zmq.DEALER, endpoint(server), keys=STRANGERS[stranger]) as other:
            assert wait_for(monitor, *OVER) != zmq.Event.HANDSHAKE_SUCCEEDED
            with pytest.raises(zmq.Again):
                other.send(b"let me in", zmq.NOBLOCK)
            exchange(server, client, b"after")
            assert other.poll(0) == 0


def test_a_server_without_keys_does_not_get_what_is_meant_for_one_that_has_them(context):
    with (
        bind(context, zmq.ROUTER, "tcp://127.0.0.1:0") as impostor,
        monitored(impostor) as monitor,
        connect(context, zmq.DEALER, endpoint(impostor), keys=GOOD) as client,
    ):
        assert wait_for(monitor, *OVER) != zmq.Event.HANDSHAKE_SUCCEEDED
        with pytest.raises(zmq.Again):
            client.send(b"secret", zmq.NOBLOCK)


def test_two_servers_of_one_process_let_in_their_own_clients_only(context):
    other = ServerKeys(pair(), frozenset([(friend := pair()).public]))
    with (
        bind(context, zmq.ROUTER, "tcp://127.0.0.1:0", keys=SERVER) as first,
        bind(context, zmq.ROUTER, "tcp://127.0.0.1:0", keys=other) as second,
        monitored(second) as monitor,
        connect(context, zmq.DEALER, endpoint(first), keys=GOOD) as client,
    ):
        exchange(first, client, b"hello")
        with connect(context, zmq.DEALER, endpoint(second), keys=ClientKeys(GOOD.own, other.own.public)):
            assert wait_for(monitor, *OVER) == zmq.Event.HANDSHAKE_FAILED_AUTH
        with connect(context, zmq.DEALER, endpoint(second), keys=ClientKeys(friend, other.own.public)) as client:
            exchange(second, client, b"hello")


def test_nobody_comes_in_when_there_is_no_gate(context):
    """libzmq's default would be that everybody does who knows the server's public key."""
    with zmq.Context() as elsewhere, context.socket(zmq.ROUTER) as server:
        gate_of(elsewhere).admit(server, SERVER)
        server.bind("tcp://127.0.0.1:0")
        with monitored(server) as monitor, connect(context, zmq.DEALER, endpoint(server), keys=GOOD):
            assert wait_for(monitor, *OVER) != zmq.Event.HANDSHAKE_SUCCEEDED


def test_the_gate_ends_with_its_context():
    before = set(threading.enumerate())
    with zmq.Context() as context:
        for _ in range(3):
            bind(context, zmq.ROUTER, "tcp://127.0.0.1:0", keys=SERVER).close()
        (gate,) = set(threading.enumerate()) - before
    gate.join(30)
    assert not gate.is_alive()


# -- a machine that vanishes


class Cable:
    """Carries bytes between a client and a server until it is unplugged; nobody is told, unlike when a process ends."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = tcp.create_server(("127.0.0.1", 0))
        self._ends: list[tcp.socket] = []
        self._unplugged = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:  # closed
                return
            server, unplugged = tcp.create_connection(("127.0.0.1", self._to)), self._unplugged
            self._ends += [client, server]
            for source, sink in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=self._carry, args=(source, sink, unplugged)))
                self._threads[-1].start()

    def _carry(self, source: tcp.socket, sink: tcp.socket, unplugged: threading.Event) -> None:
        try:
            while data := source.recv(65536):
                if not unplugged.is_set():
                    sink.sendall(data)
        except OSError:  # the other end is closed
            return

    def unplug(self) -> None:
        """Nothing comes through any more, except on connections made from now on."""
        self._unplugged.set()
        self._unplugged = threading.Event()

    def close(self) -> None:
        for socket in (self._listener, *self._ends):
            with suppress(OSError):
                socket.shutdown(tcp.SHUT_RDWR)
            socket.close()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("keys", [(None, None), (SERVER, GOOD)], ids=["without keys", "with keys"])
def test_a_server_that_vanishes_is_noticed_and_found_again(context, keys):
    with (
        bind(context, zmq.ROUTER, "tcp://127.0.0.1:0", keys=keys[0]) as server,
        closing(Cable(int(endpoint(server).rpartition(":")[2]))) as cable,
        connect(context, zmq.DEALER, cable.address, keys=keys[1]) as client,
        monitored(client) as seen_by_client,
    ):
        exchange(server, client, b"before")
        cable.unplug()
        wait_for(seen_by_client, zmq.Event.DISCONNECTED)
        wait_for(seen_by_client, zmq.Event.HANDSHAKE_SUCCEEDED)
        exchange(server, client, b"after")
