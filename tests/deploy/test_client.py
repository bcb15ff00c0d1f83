"""The client waits no longer than its deadline and drives by no reply that is not fit for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import zmq

from deploy.client import PolicyClient, ServerError
from deploy.driving.faults import Fault
from deploy.sockets import bind
from deploy.wire import Act, Action, Hello, Message, PolicyInfo, Refusal, pack, unpack
from tests.deploy.policies import IMAGE, SPEC, STATE

SOON_S = 5.0  # more than any reply takes, however slow the machine

INFO = PolicyInfo(SPEC, "good", 5)
Reply = Callable[[Act, list[np.ndarray]], list[Message | bytes]]


@contextmanager
def server(address: str, reply: Reply, info: PolicyInfo = INFO) -> Iterator[None]:
    """A server in a thread that answers Hello properly and every Act by what `reply` says."""
    with zmq.Context() as context, bind(context, zmq.ROUTER, address, 64) as socket:
        pipe_in, pipe_out = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        pipe_in.bind("inproc://end")
        pipe_out.connect("inproc://end")
        thread = Thread(target=_answer, args=(socket, pipe_in, reply, info))
        thread.start()
        try:
            yield
        finally:
            pipe_out.send(b"")
            thread.join()
            pipe_in.close()
            pipe_out.close()


def _answer(socket: zmq.Socket, end: zmq.Socket, reply: Reply, info: PolicyInfo) -> None:
    while (end, zmq.POLLIN) not in zmq.zmq_poll([(socket, zmq.POLLIN), (end, zmq.POLLIN)], -1):
        client, *frames = socket.recv_multipart()
        message, arrays = unpack(frames, Hello | Act)
        hello = isinstance(message, Hello)
        for answer in [info] if hello else reply(message, arrays):
            socket.send_multipart([client, *([answer] if isinstance(answer, bytes) else pack(answer))])


def good(act: Act, action: tuple[float, float] = (0.5, -0.5)) -> Action:
    return Action(act.seq, act.captured_at_s, action, "good", 0.001, 5)


@contextmanager
def connected(folder, reply: Reply, pinned: bool = False) -> Iterator[PolicyClient]:
    address = f"ipc://{folder}/s"
    with server(address, reply), zmq.Context() as context, PolicyClient(context, address, pinned=pinned) as client:
        client.hello(SOON_S)
        yield client


def ask(client: PolicyClient, seq: int = 1, within_s: float = SOON_S) -> Action | None:
    return client.act(seq, IMAGE, STATE, 3.5, time.monotonic() + within_s)


def test_hello_tells_what_is_served(tmp_path):
    address = f"ipc://{tmp_path}/s"
    silent = server(address, lambda act, arrays: [])
    with silent, zmq.Context() as context, PolicyClient(context, address) as client:
        assert client.hello(SOON_S) == INFO


def test_hello_to_nobody_is_an_error_that_says_what_to_do(tmp_path):
    advice = pytest.raises(ServerError, match=r"/s within 0.05 s; start one with `lapwing serve`")
    with zmq.Context() as context, PolicyClient(context, f"ipc://{tmp_path}/s") as client, advice:
        client.hello(0.05)


def test_hello_to_a_server_of_another_language_is_an_error(tmp_path):
    address = f"ipc://{tmp_path}/s"
    with zmq.Context() as context, bind(context, zmq.ROUTER, address) as socket:
        thread = Thread(target=lambda: socket.send_multipart([socket.recv_multipart()[0], b"who?"]))
        thread.start()
        with PolicyClient(context, address) as client, pytest.raises(ServerError, match="cannot read"):
            client.hello(SOON_S)
        thread.join()


def test_the_server_receives_exactly_what_the_car_saw(tmp_path):
    seen = []
    image = np.arange(64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    state = np.linspace(-1, 1, 6, dtype=np.float32)
    with connected(tmp_path, lambda act, arrays: seen.append((act, arrays)) or [good(act)]) as client:
        action = client.act(9, image, state, 3.5, time.monotonic() + SOON_S)
    assert action.action == (0.5, -0.5)
    assert seen[0][0] == Act(9, 3.5)
    assert np.array_equal(seen[0][1][0], state)
    assert np.array_equal(seen[0][1][1], image)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("stale", lambda act: Action(act.seq - 1, act.captured_at_s, (0, 0), "good", 0, 5)),
        ("stale", lambda act: Action(act.seq, act.captured_at_s - 0.1, (0, 0), "good", 0, 5)),
        ("foreign", lambda act: Action(act.seq, act.captured_at_s, (0, 0), "evil", 0, 5)),
        ("invalid", lambda act: good(act, (float("nan"), 0.0))),
        ("invalid", lambda act: good(act, (0.0, 1.5))),
        ("malformed", lambda act: b"junk"),
    ],
)
def test_a_bad_reply_is_dropped_and_counted_and_the_good_one_behind_it_is_taken(tmp_path, kind, bad):
    with connected(tmp_path, lambda act, _: [bad(act), good(act)]) as client:
        assert ask(client).action == (0.5, -0.5)
        assert client.dropped == {kind: 1}


def test_a_refusal_of_this_frame_ends_the_wait_at_once(tmp_path):
    def refuse(act: Act, _: object) -> list[Message]:
        return [Refusal(act.seq - 1, "superseded", ""), Refusal(act.seq, "mismatch", "too small")]

    with connected(tmp_path, refuse) as client:
        assert ask(client, within_s=3600) is None
        assert client.fault == Fault("foreign", "refusing: too small")


def test_silence_ends_at_the_deadline(tmp_path):
    with connected(tmp_path, lambda act, _: []) as client:
        asked_at_s = time.monotonic()
        assert ask(client, within_s=0.03) is None
        assert time.monotonic() - asked_at_s >= 0.03
        assert client.fault == Fault("silent", "silent")


def test_a_reply_that_is_read_too_late_is_not_driven_by(tmp_path, monkeypatch):
    held_up = SimpleNamespace(monotonic=iter([0.0, 0.0, 9.0]).__next__)  # 9 s: after the reply has come
    with connected(tmp_path, lambda act, _: [good(act)]) as client:
        with monkeypatch.context() as patch:
            patch.setattr("deploy.client.time", held_up)
            assert client.act(1, IMAGE, STATE, 3.5, deadline_s=SOON_S) is None
        assert ask(client, seq=2).seq == 2
        assert client.dropped == {"stale": 1}


def test_endless_bad_replies_do_not_outlast_the_deadline(tmp_path):
    with connected(tmp_path, lambda act, _: [b"junk"] * 3000) as client:
        assert ask(client, within_s=0.02) is None


def test_a_deadline_that_has_passed_sends_nothing(tmp_path):
    seen = []
    with connected(tmp_path, lambda act, _: seen.append(act.seq) or [good(act)]) as client:
        assert ask(client, seq=1, within_s=-1) is None
        assert ask(client, seq=2).seq == 2
    assert seen == [2]


def test_a_restarted_server_is_found_again(tmp_path):
    address = f"ipc://{tmp_path}/s"
    with zmq.Context() as context, PolicyClient(context, address) as client:
        for seq in (1, 3):
            with server(address, lambda act, _: [good(act)]):
                client.hello(SOON_S)
                assert ask(client, seq).seq == seq
            assert ask(client, seq + 1, within_s=0.03) is None


# -- another session, another policy


NEW_SPEC = msgspec.structs.replace(SPEC, run="newer")
MISFIT = msgspec.structs.replace(SPEC, period_s=0.05)


def by(act: Act, policy_id: str = "good", session: int = 5) -> Action:
    """The answer of that policy in that session."""
    return Action(act.seq, act.captured_at_s, (0.5, -0.5), policy_id, 0.001, session)


def test_an_action_of_another_session_is_not_driven_by_and_the_server_asked_who_it_is(tmp_path):
    with connected(tmp_path, lambda act, _: [by(act, session=6), by(act)]) as client:
        assert ask(client).session == 5
        assert client.dropped == {"stale": 1}


def test_a_server_that_was_restarted_with_the_same_policy_is_driven_by_at_once(tmp_path):
    address = f"ipc://{tmp_path}/s"
    with zmq.Context() as context, PolicyClient(context, address) as client:
        with server(address, lambda act, _: [by(act)]):
            client.hello(SOON_S)
            assert ask(client, 1)
        with server(address, lambda act, _: [by(act, session=6)], PolicyInfo(SPEC, "good", 6)):
            assert ask(client, 2).session == 6  # the very first frame that reaches it is asked again
            assert ask(client, 3).session == 6
    assert client.dropped == {"stale": 1}


def test_a_server_that_was_restarted_with_another_policy_is_not_driven_by(tmp_path):
    address = f"ipc://{tmp_path}/s"
    with zmq.Context() as context, PolicyClient(context, address) as client:
        with server(address, lambda act, _: [by(act)]):
            client.hello(SOON_S)
        with server(address, lambda act, _: [by(act, "other", 6)], PolicyInfo(NEW_SPEC, "other", 6)):
            assert not any(ask(client, seq, within_s=0.1) for seq in range(1, 10))
            assert client.fault.kind in ("foreign", "stale")
            assert client.dropped["foreign"] > 0
            client.hello(SOON_S)  # a person has looked
            assert ask(client, 40).policy_id == "other"


def test_a_policy_that_the_server_changes_to_is_driven_by_if_a_car_can_go_on_by_it(tmp_path):
    change = PolicyInfo(NEW_SPEC, "newer", 5)
    with connected(tmp_path, lambda act, _: [change, by(act, "newer")]) as client:
        assert ask(client).policy_id == "newer"
        assert client.agreed == change
        assert not client.dropped


@pytest.mark.parametrize(
    ("pinned", "info", "detail"),
    [
        (True, PolicyInfo(NEW_SPEC, "newer", 5), "serving another policy (newer, not good)"),
        (False, PolicyInfo(MISFIT, "newer", 5), "period_s is 0.05, expected 0.1"),
        (False, PolicyInfo(NEW_SPEC, "newer", 6), "serving another policy (newer, not good)"),
    ],
    ids=["pinned", "does not fit", "of another session"],
)
def test_any_other_change_is_a_lasting_fault(tmp_path, pinned, info, detail):
    with connected(tmp_path, lambda act, _: [by(act, "newer"), info], pinned) as client:
        assert ask(client, within_s=0.2) is None
        assert client.fault.kind == "foreign"
        assert not client.fault.passing
        assert detail in client.fault.detail
        assert client.agreed == INFO
