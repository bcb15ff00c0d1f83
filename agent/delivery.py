"""Experience on its way: kept until the learner has it, sent again when it is lost, learned from once.

An actor numbers its messages one after the other. The learner takes only the next one and answers with a receipt for
all that it has; what is without receipt for too long is sent again from there (go-back-N), so that neither a broken
connection nor a restarted learner loses or doubles anything. Both sides here are pure: who sends and what time it is
are told to them.
"""

import secrets
from collections import deque
from collections.abc import Callable, Sequence

from deploy.wire import Delivery, Receipt, pack

Frames = Sequence[bytes | memoryview]

ROOM = 1024  # messages that an actor keeps, some 30,000 transitions; more are dropped
PATIENCE_S = 1.0  # without a receipt until everything is sent again
LIVES = 1024  # of actors that a learner remembers


class Outbox:
    """An actor's messages without receipt. `life` tells this actor from the one that it was before a restart."""

    def __init__(self) -> None:
        self.life = secrets.randbits(63)
        self.dropped = 0  # messages for which there was no room
        self._first = 0  # number of the oldest message kept
        self._kept: deque[Frames] = deque()
        self._sent = 0  # how many of them are on their way
        self._heard_at_s = 0.0  # when a receipt came last, or the first of them was sent

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, frames: Frames) -> bool:
        """Keep a message, to be sent; False when there is no room and it is dropped."""
        if len(self._kept) == ROOM:
            self.dropped += 1
            return False
        self._kept.append(frames)
        return True

    def send(self, line: Callable[[Frames], bool], now_s: float) -> None:
        """Give `line` what is to be sent, until it takes no more."""
        if self._sent and now_s - self._heard_at_s > PATIENCE_S:
            self._sent = 0
        while self._sent < len(self._kept):
            delivery = Delivery(life=self.life, number=self._first + self._sent, first=self._first)
            if not line([*pack(delivery), *self._kept[self._sent]]):
                return
            self._heard_at_s = now_s if self._sent == 0 else self._heard_at_s
            self._sent += 1

    def receive(self, receipt: Receipt, now_s: float) -> None:
        """Let go of what has arrived."""
        if receipt.life != self.life:
            return
        for _ in range(min(receipt.before - self._first, len(self._kept))):
            self._kept.popleft()
            self._first, self._sent = self._first + 1, max(0, self._sent - 1)
            self._heard_at_s = now_s


class Inbox:
    """What the learner has of every actor's life: a number below which all has arrived."""

    def __init__(self) -> None:
        self.before: dict[int, int] = {}  # by life; a part of what the learner must not forget
        self.doubled = self.early = 0  # messages that had come already, and that came before one that was lost

    def take(self, delivery: Delivery) -> bool:
        """True if this is the next message of that life, which then counts as received.

        A life that is not known begins with the oldest message that the actor still has.
        """
        expected = self.before.get(delivery.life, delivery.first)
        self.doubled += delivery.number < expected
        self.early += delivery.number > expected
        if delivery.number != expected:
            return False
        self.before.pop(delivery.life, None)
        self.before[delivery.life] = expected + 1
        if len(self.before) > LIVES:
            del self.before[next(iter(self.before))]  # the one that was silent longest
        return True

    def receipt(self, life: int) -> Receipt:
        """For all that has arrived of that life."""
        return Receipt(life=life, before=self.before.get(life, 0))
