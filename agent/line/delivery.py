"""Experience on its way: kept until the learner has saved it, sent again when it is lost, learned from once.

An actor numbers its messages one after the other. The learner takes only the next one and answers with a receipt: what
has arrived, and what a checkpoint of it holds. The actor lets go of what is saved. What has not arrived for too long is
sent again from there (go-back-N), and so is what a learner that was restarted from its checkpoint has forgotten. So
neither a broken connection nor a killed learner loses or doubles anything, as long as there is room for what is not
saved yet. Both sides here are pure: who sends and what time it is are told to them.
"""

import secrets
from collections import deque
from collections.abc import Callable, Sequence

from deploy.wire import Delivery, Receipt, pack

Frames = Sequence[bytes | memoryview]

ROOM = 1024  # messages that an actor keeps, at most some 130,000 transitions
PATIENCE_S = 1.0  # without a receipt until something is sent again
LIVES = 1024  # of actors that a learner remembers


class Outbox:
    """An actor's messages that no checkpoint holds. `life` tells this actor from what it was before a restart."""

    def __init__(self) -> None:
        self.life = secrets.randbits(63)
        self.dropped = 0  # messages for which there was no room
        self.version = 0  # of the weights, when the learner last said what it has
        self._kept: deque[Frames] = deque()
        self._first = 0  # number of the oldest message kept
        self._next = 0  # of the next to send
        self.arrived = 0  # the learner is known to have all before that
        self.saved = 0  # a checkpoint is known to hold all before that
        self._heard_at_s = 0.0  # when a receipt came last, or something was sent after silence

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def end(self) -> int:
        """The number that the next message will have."""
        return self._first + len(self._kept)

    def put(self, frames: Frames, droppable: bool = True) -> bool:
        """Keep a message, to be sent; False when there is no room and it is dropped, if it may be.

        The oldest that has arrived makes room: then a learner that is lost before its next checkpoint loses that, too.
        """
        if len(self._kept) >= ROOM and self._first < self.arrived:
            self._kept.popleft()
            self._first += 1
        if droppable and len(self._kept) >= ROOM:
            self.dropped += 1
            return False
        self._kept.append(frames)
        return True

    def send(self, line: Callable[[Frames], bool], now_s: float) -> None:
        """Give `line` what is to be sent, until it takes no more."""
        if self._kept and self._next > self._first and now_s - self._heard_at_s > PATIENCE_S:
            self._next = min(self.arrived, self.end - 1)  # all has arrived? then the last: is the learner the same?
        while self._next < self.end:
            delivery = Delivery(life=self.life, number=self._next, first=self._first)
            if not line([*pack(delivery), *self._kept[self._next - self._first]]):
                return
            if self._next == self.arrived:
                self._heard_at_s = now_s
            self._next += 1

    def receive(self, receipt: Receipt, now_s: float) -> None:
        """Let go of what is saved; go back to what has not arrived, if the learner has forgotten it."""
        if receipt.life != self.life or not self._first <= receipt.before <= self.end:
            return
        if receipt.before < self.arrived:
            self._next = receipt.before
        self.arrived, self._next = receipt.before, max(self._next, receipt.before)
        self.saved = max(self.saved, min(receipt.saved, receipt.before))
        while self._kept and self._first < self.saved:
            self._kept.popleft()
            self._first += 1
        self._heard_at_s, self.version = now_s, receipt.version


class Inbox:
    """What the learner has of every actor's life: a number below which all has arrived, and has been saved."""

    def __init__(self, before: dict[int, int] | None = None) -> None:
        self.before = dict(before or {})  # by life; a checkpoint must hold it
        self._saved = dict(self.before)

    def take(self, delivery: Delivery) -> bool:
        """True if this is the next message of that life, which then counts as arrived.

        It is never older than the oldest that the actor still has; a life that is not known begins with that.
        """
        expected = max(self.before.get(delivery.life, 0), delivery.first)
        taken = delivery.number == expected
        self.before.pop(delivery.life, None)
        self.before[delivery.life] = expected + taken
        if len(self.before) > LIVES:
            del self.before[next(iter(self.before))]  # the one that was silent longest
        return taken

    def saved(self) -> None:
        """Note that a checkpoint holds all that has arrived."""
        self._saved = dict(self.before)

    def receipt(self, life: int, version: int) -> Receipt:
        """For all of that life; with the version of the newest weights."""
        return Receipt(life=life, before=self.before.get(life, 0), saved=self._saved.get(life, 0), version=version)
