"""The policy server answers the newest frame, refuses the rest, and survives everything."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import pytest
import zmq

from deploy.policy import Answer, OnnxPolicy
from deploy.policy_server.admission import ALLOWANCE
from deploy.policy_server.self_test import first_policy
from deploy.policy_server.server import PolicyServer, ServeConfig, listen, serve
from deploy.policy_spec import PolicyError
from deploy.sockets import AddressError, connect
from deploy.wire import VERSION, Act, Action, Hello, PolicyInfo, Refusal, pack, unpack
from tests.deploy.policies import IMAGE, SPEC, STATE, constant_policy, echo_policy


class Peers:
    """A server with one client's raw socket, in one thread: the test takes the turns."""

    def __init__(self, policy: OnnxPolicy, server: zmq.Socket, client: zmq.Socket):
        self.server = PolicyServer(policy, server)
        self.server_socket = server
        self.client = client

    def ask(self, *messages: list) -> list:
        """Send all messages, let the server take turns until each is answered, return the answers."""
        for frames in messages:
            self.client.send_multipart(frames)
        replies = []
        while len(replies) < len(messages):
            assert self.server_socket.poll(1000) or self.client.poll(1000), "the server has fallen silent"
            self.server.turn()
            while len(replies) < len(messages) and self.client.poll(10):
                replies.append(unpack(self.client.recv_multipart(), PolicyInfo | Action | Refusal)[0])
        return replies


class Backlog:
    """A socket on which a given number of messages has already arrived."""

    def __init__(self, socket: zmq.Socket, size: int):
        self._arrived = [socket.recv_multipart() for _ in range(size)]
        self.send_multipart = socket.send_multipart

    def getsockopt(self, _: int) -> int:
        return zmq.POLLIN if self._arrived else 0

    def recv_multipart(self, _: int) -> list[bytes]:
        return self._arrived.pop(0)


@contextmanager
def peers(policy: OnnxPolicy, address: str) -> Iterator[Peers]:
    with (
        zmq.Context() as context,
        listen(context, address, SPEC) as server,
        connect(context, zmq.DEALER, address, queue=64) as client,
    ):
        yield Peers(policy, server, client)


@pytest.fixture
def served(tmp_path):
    with peers(OnnxPolicy.load(echo_policy(tmp_path / "p.onnx")), f"ipc://{tmp_path}/s") as served:
        yield served


def act(seq: int, image: np.ndarray = IMAGE, state: np.ndarray = STATE) -> list:
    return pack(Act(seq, 12.5), state, image)


def test_hello_is_answered_by_what_is_served(served):
    (info,) = served.ask(pack(Hello()))
    assert info.spec == SPEC
    assert len(info.policy_id) == 12


def test_an_action_is_what_the_policy_says_in_this_process(served):
    image = np.full((64, 64, 3), 51, np.uint8)
    state = np.full(6, 0.5, np.float32)
    (action,) = served.ask(act(7, image, state))
    assert action.action == pytest.approx((0.2, 0.5))
    assert (action.seq, action.captured_at_s) == (7, 12.5)
    assert action.inference_s > 0


def test_what_the_policy_makes_of_frame_and_action_is_told(served, monkeypatch):
    answer = Answer(np.array([0.25, -0.5], np.float32), 1.5, 30.0)
    monkeypatch.setattr(served.server.policy, "answer", lambda image, state: answer)
    (action,) = served.ask(act(1))
    assert (action.action, action.novelty, action.value) == ((0.25, -0.5), 1.5, 30.0)


def test_only_the_newest_of_the_waiting_frames_gets_an_action(served):
    served.ask(pack(Hello()))  # now the connection stands
    for seq in (1, 2, 3):
        served.client.send_multipart(act(seq))
    served.client.send_multipart(pack(Hello()))
    backlog = Backlog(served.server_socket, size=4)
    PolicyServer(served.server.policy, backlog).turn()
    replies = [unpack(served.client.recv_multipart(), PolicyInfo | Action | Refusal)[0] for _ in range(4)]
    assert [(type(r), r.seq) for r in replies[:3]] == [(Action, 3), (Refusal, 1), (Refusal, 2)]
    assert replies[1].code == replies[2].code == "superseded"
    assert isinstance(replies[3], PolicyInfo)


def test_a_request_of_the_wrong_size_is_refused_by_name(served):
    replies = served.ask(
        act(1, image=np.zeros((32, 64, 3), np.uint8)),
        act(2, state=np.zeros(4, np.float32)),
        pack(Act(3, 0.0)),
    )
    assert [(r.seq, r.code) for r in replies] == [(1, "mismatch"), (2, "mismatch"), (3, "mismatch")]
    assert "(64, 64, 3)" in replies[0].reason


def test_malformed_messages_are_refused_counted_and_do_no_harm(served):
    junk = [
        [b""],
        [b"junk", b"more"],
        [b"\x91" * 60_000],
        [b"", *act(1)],
        pack(Action(1, 0.0, (0, 0), "", 0, 0)),
    ]
    assert {reply.code for reply in served.ask(*junk)} == {"malformed"}
    assert served.server.counts["malformed"] == len(junk)
    (action,) = served.ask(act(2))
    assert action.seq == 2
    assert f"{len(junk)} malformed" in served.server.report()


def test_another_version_of_the_protocol_is_told_so(served):
    newer = msgspec.msgpack.encode({"version": VERSION + 1, "message": {"type": "hello"}, "arrays": []})
    (refusal,) = served.ask([newer])
    assert (refusal.seq, refusal.code) == (None, "version")
    assert f"expected {VERSION}" in refusal.reason


def test_a_frame_of_the_past_is_refused_until_the_client_says_hello_again(served):
    replies = served.ask(act(5)) + served.ask(act(5)) + served.ask(act(4)) + served.ask(act(6))
    assert [(type(r), r.seq) for r in replies] == [(Action, 5), (Refusal, 5), (Refusal, 4), (Action, 6)]
    assert replies[1].code == replies[2].code == "replayed"
    served.ask(pack(Hello()))
    (action,) = served.ask(act(0))
    assert action.seq == 0


def test_a_flood_is_refused_once_and_then_dropped_unread(served):
    served.ask(pack(Hello()))
    flood = ALLOWANCE + 2
    for seq in range(flood):
        served.client.send_multipart(act(seq))
    backlog = Backlog(served.server_socket, size=flood)
    server = PolicyServer(served.server.policy, backlog)
    server.turn()
    assert server.counts == {"flooding": 1, "ignored": 1, "action": 1, "superseded": ALLOWANCE - 1}
    replies = [unpack(served.client.recv_multipart(), Action | Refusal)[0] for _ in range(ALLOWANCE + 1)]
    assert replies[0].code == "flooding"
    assert (type(replies[1]), replies[1].seq) == (Action, ALLOWANCE - 1)


def test_answers_that_a_client_does_not_read_are_dropped_and_counted_and_block_nobody(served, tmp_path):
    with served.client.context.socket(zmq.DEALER) as deaf:
        deaf.rcvhwm, deaf.linger = 1, 0
        deaf.connect(f"ipc://{tmp_path}/s")
        while not served.server.counts["undelivered"]:
            deaf.send_multipart(pack(Hello()))
            assert served.server_socket.poll(1000)
            served.server.turn()
    (action,) = served.ask(act(1))
    assert action.seq == 1


def test_who_takes_the_name_of_another_client_neither_gets_its_answers_nor_keeps_it_from_them(served, tmp_path):
    context = served.client.context
    with context.socket(zmq.DEALER) as car, context.socket(zmq.DEALER) as thief:
        for socket in (car, thief):
            socket.routing_id, socket.linger = b"car", 0
            socket.connect(f"ipc://{tmp_path}/s")
            served.client = socket
            if socket is car:
                served.ask(pack(Hello()))
        thief.send_multipart(act(100))
        served.client = car
        (action,) = served.ask(act(1))
        assert action.seq == 1
        assert not thief.poll(100)


def test_when_the_policy_changes_everybody_is_told_before_it_answers(served, tmp_path):
    (before,) = served.ask(pack(Hello()))
    served.server.change(OnnxPolicy.load(constant_policy(tmp_path / "new.onnx", 0.25, -0.5)))
    served.client.send_multipart(act(1))
    assert served.server_socket.poll(1000)
    served.server.turn()
    info, action = (unpack(served.client.recv_multipart(), PolicyInfo | Action)[0] for _ in range(2))
    assert info.session == before.session == action.session
    assert info.policy_id == action.policy_id != before.policy_id
    assert action.action == (0.25, -0.5)


def test_each_server_has_a_session_of_its_own(served):
    (info,) = served.ask(pack(Hello()))
    assert info.session == served.server.session
    assert PolicyServer(served.server.policy, served.server_socket).session != info.session


@pytest.mark.parametrize("answer", [(np.nan, 0.0), (0.0, np.inf), (1.1, 0.0)])
def test_an_action_that_is_not_finite_and_in_range_never_leaves(tmp_path, answer):
    policy = OnnxPolicy.load(constant_policy(tmp_path / "p.onnx", *answer))
    with peers(policy, f"ipc://{tmp_path}/s") as served:
        (refusal,) = served.ask(act(1))
    assert (refusal.seq, refusal.code) == (1, "invalid")


def test_a_policy_that_is_unfit_from_the_start_is_served_with_a_warning(tmp_path):
    said = []
    first_policy(echo_policy(tmp_path / "sound.onnx"), said.append)
    assert not said
    policy = first_policy(constant_policy(tmp_path / "unfit.onnx", np.nan, 0.0), said.append)
    assert said == [f"WARNING: policy {policy.id} answers [nan, 0.0] to a black frame, expected [-1, 1]"]


def test_a_policy_or_address_that_cannot_be_served_is_an_error(tmp_path):
    path = echo_policy(tmp_path / "p.onnx")
    with pytest.raises(PolicyError):
        serve(ServeConfig(tmp_path / "none.onnx", f"ipc://{tmp_path}/s"))
    with pytest.raises(AddressError):
        serve(ServeConfig(path, "tcp://0.0.0.0:0"))
