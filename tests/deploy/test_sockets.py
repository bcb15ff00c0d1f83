"""Sockets carry the options of a control loop and refuse addresses in plain words."""

import pytest
import zmq

from deploy.sockets import AddressError, bind, connect, drain


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
        assert 0 < socket.getsockopt(zmq.HEARTBEAT_IVL) < socket.getsockopt(zmq.HEARTBEAT_TIMEOUT)


def test_a_port_in_use_is_named(context):
    with bind(context, zmq.ROUTER, "tcp://127.0.0.1:0") as socket:
        address = socket.last_endpoint.decode()
        with pytest.raises(AddressError, match=f"{address} is already in use; choose another with --bind"):
            bind(context, zmq.ROUTER, address)


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "192.168.1.7", "eth0", "[::]", "example.org"])
def test_only_loopback_is_bound(context, host):
    with pytest.raises(AddressError, match=r"only tcp://127.0.0.1:PORT is allowed"):
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
