"""Whatever the line loses, every message is learned from once, in order, as long as there is room for it."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agent.line.delivery
from agent.line.delivery import LIVES, PATIENCE_S, Frames, Inbox, Outbox
from deploy.wire import Delivery, Receipt, unpack


class Network:
    """An actor, a learner and a line between them that may lose what is on it."""

    def __init__(self) -> None:
        self.outbox, self.inbox = Outbox(), Inbox()
        self.up: deque[list] = deque()
        self.down: deque[Receipt] = deque()
        self.sent: list[bytes] = []
        self.learned: list[bytes] = []
        self.refused = 0  # messages that came twice or too early
        self.now_s = 0.0
        self.save()

    def put(self) -> None:
        message = str(len(self.sent)).encode()
        assert self.outbox.put([message])
        self.sent.append(message)

    def send(self, room: int = 10**9) -> None:
        def line(frames: Frames) -> bool:
            if len(self.up) >= room:
                return False
            self.up.append(list(frames))
            return True

        self.outbox.send(line, self.now_s)

    def arrive(self) -> None:
        if self.up:
            header, message = self.up.popleft()
            delivery, _ = unpack([header], Delivery)
            if self.inbox.take(delivery):
                self.learned.append(message)
            else:
                self.refused += 1
            self.down.append(self.inbox.receipt(delivery.life, version=7))

    def answer(self) -> None:
        if self.down:
            self.outbox.receive(self.down.popleft(), self.now_s)

    def lose(self) -> None:
        """The connection breaks."""
        self.up.clear()
        self.down.clear()

    def wait(self) -> None:
        self.now_s += 1.5 * PATIENCE_S

    def save(self) -> None:
        self.inbox.saved()
        self.checkpoint = dict(self.inbox.before), list(self.learned)

    def restart_learner(self) -> None:
        """It is killed and comes back with what its last checkpoint holds."""
        self.lose()
        before, learned = self.checkpoint
        self.inbox, self.learned = Inbox(before), list(learned)

    def settle(self) -> None:
        """Nothing more goes wrong."""
        for _ in range(4):
            self.wait()
            self.send()
            while self.up or self.down:
                self.arrive()
                self.answer()
                self.send()


MISHAPS = ("put", "send", "arrive", "answer", "save", "lose", "wait", "restart_learner")


@settings(max_examples=500)
@given(st.lists(st.sampled_from(MISHAPS), max_size=80))
def test_everything_is_learned_from_once_and_in_order(mishaps):
    network = Network()
    for mishap in mishaps:
        getattr(network, mishap)()
        assert network.learned == network.sent[: len(network.learned)]
    network.settle()
    assert network.learned == network.sent
    assert network.outbox.end == network.outbox.arrived
    network.save()
    network.settle()
    assert len(network.outbox) == 0


def test_an_actor_that_has_nothing_new_finds_out_that_its_learner_was_restarted():
    network = Network()
    network.put()
    network.put()
    network.settle()
    network.restart_learner()
    assert network.learned == []
    network.settle()
    assert network.learned == network.sent


def test_nothing_is_let_go_before_it_is_saved():
    network = Network()
    network.put()
    network.settle()
    assert (network.outbox.end - network.outbox.arrived, len(network.outbox)) == (0, 1)
    network.save()
    network.settle()
    assert len(network.outbox) == 0


def test_nothing_is_sent_twice_while_receipts_come():
    network = Network()
    for _ in range(20):
        network.put()
        network.send()
        network.arrive()
        network.now_s += 0.9 * PATIENCE_S
        network.answer()
    assert (len(network.learned), network.refused) == (20, 0)


def test_a_line_that_takes_no_more_gets_the_rest_later():
    network = Network()
    for _ in range(5):
        network.put()
    network.send(room=2)
    assert [frames[1] for frames in network.up] == [b"0", b"1"]
    network.arrive()
    network.send(room=2)
    assert [frames[1] for frames in network.up] == [b"1", b"2"]


def test_what_has_no_room_is_dropped_and_counted_and_the_rest_arrives(monkeypatch):
    monkeypatch.setattr(agent.line.delivery, "ROOM", 2)
    network = Network()
    network.put()
    network.put()
    assert not network.outbox.put([b"too many"])
    assert network.outbox.dropped == 1
    network.settle()
    network.save()
    network.settle()
    network.put()
    network.settle()
    assert network.learned == network.sent


def test_what_has_arrived_makes_room_and_only_a_restart_before_the_checkpoint_can_lose_it(monkeypatch):
    monkeypatch.setattr(agent.line.delivery, "ROOM", 3)
    network = Network()
    for _ in range(10):
        network.put()
        network.settle()
    assert (network.outbox.dropped, len(network.outbox)) == (0, 3)
    assert network.learned == network.sent
    network.restart_learner()  # from before the first message
    network.settle()
    assert network.learned == [b"7", b"8", b"9"]
    network.put()
    network.settle()
    assert network.learned == [b"7", b"8", b"9", b"10"]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(MISHAPS), max_size=80))
def test_with_little_room_nothing_is_learned_twice_and_all_goes_on(mishaps):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent.line.delivery, "ROOM", 2)
        network = Network()
        for mishap in mishaps:
            if mishap == "put" and not network.outbox.put([str(len(network.sent)).encode()]):
                continue  # dropped, and counted
            if mishap == "put":
                network.sent.append(str(len(network.sent)).encode())
            else:
                getattr(network, mishap)()
            numbers = [int(message) for message in network.learned]
            assert numbers == sorted(set(numbers))
        network.settle()
        assert network.outbox.end == network.outbox.arrived
        assert network.learned[-2:] == network.sent[-2:]


def test_a_learner_that_forgot_everything_goes_on_with_what_the_actor_still_has():
    network = Network()
    for _ in range(3):
        network.put()
    network.send()
    network.arrive()
    network.save()
    network.settle()
    network.put()
    network.inbox = Inbox()
    network.settle()
    assert network.learned == [b"0", b"1", b"2", b"1", b"2", b"3"]


def test_the_first_message_of_a_life_cannot_be_skipped():
    inbox = Inbox()
    assert not inbox.take(Delivery(life=1, number=1, first=0))
    assert inbox.receipt(1, 0).before == 0
    assert inbox.take(Delivery(life=1, number=0, first=0))


def test_lives_do_not_mix():
    inbox, outbox = Inbox(), Outbox()
    assert inbox.take(Delivery(life=1, number=0, first=0))
    assert inbox.take(Delivery(life=2, number=0, first=0))
    assert inbox.receipt(1, 7) == Receipt(life=1, before=1, saved=0, version=7)
    outbox.put([b""])
    outbox.receive(Receipt(life=outbox.life + 1, before=1, saved=1, version=0), 0.0)
    assert len(outbox) == 1


@pytest.mark.parametrize(("before", "saved"), [(0, 2**60), (2**60, 2**60), (2**60, 0)])
def test_a_senseless_receipt_does_no_harm(before, saved):
    outbox = Outbox()
    outbox.put([b""])
    outbox.send(lambda frames: True, 0.0)
    outbox.receive(Receipt(life=outbox.life, before=before, saved=saved, version=0), 0.0)
    assert (len(outbox), outbox.end - outbox.arrived) == (1, 1)


def test_lives_that_are_long_over_are_forgotten():
    inbox = Inbox()
    for life in range(2 * LIVES):
        assert inbox.take(Delivery(life=life, number=life % 2, first=0)) == (life % 2 == 0)
    assert list(inbox.before) == list(range(LIVES, 2 * LIVES))
