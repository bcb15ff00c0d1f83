"""The two ends of the line between actors and the learner: experience goes up, receipts and weights come down.

Neither end waits for the other. What an actor sends is delivered once (`delivery.py`); of weights the newest count.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import zmq

from agent.delivery import Frames, Inbox, Outbox
from deploy.sockets import bind, connect, drain
from deploy.wire import (
    Begin,
    Delivery,
    EpisodeReport,
    Experience,
    Heartbeat,
    Receipt,
    Undo,
    Weights,
    WireError,
    pack,
    unpack,
)

BEAT_S = 0.5  # between two heartbeats of an actor
QUEUE = 256  # messages on their way between an actor and the learner
Upward = Experience | EpisodeReport | Begin | Undo


class Addresses(NamedTuple):
    """Where the learner listens."""

    experience: str
    weights: str


def local_addresses(folder: str) -> Addresses:
    """Return addresses inside a folder of this machine; a socket's path has at most 107 characters."""
    return Addresses(f"ipc://{folder}/experience", f"ipc://{folder}/weights")


class LearnerEnd:
    """Receives from every actor, publishes to all; what is no message of ours is counted and dropped."""

    def __init__(self, context: zmq.Context, addresses: Addresses) -> None:
        self.malformed = 0
        self.inbox = Inbox()
        self._version = 0
        self.heard_at_s: dict[int, float] = {}  # by actor, on the monotonic clock
        self.dropped: dict[int, int] = {}  # messages, by actor
        self._experience = bind(context, zmq.ROUTER, addresses.experience, QUEUE)
        self._weights = bind(context, zmq.PUB, addresses.weights, queue=1)

    def receive(self, wait_ms: int = 0) -> Iterator[tuple[Upward, list[np.ndarray]]]:
        """Yield what has arrived for the first time, waiting at most `wait_ms`; then send receipts for all of it."""
        self._experience.poll(wait_ms)
        heard: dict[bytes, int] = {}
        for actor, *frames in drain(self._experience):
            try:
                delivery, _ = unpack(frames[:1], Heartbeat | Delivery)
                if isinstance(delivery, Heartbeat):
                    self.heard_at_s[delivery.actor] = time.monotonic()
                    self.dropped[delivery.actor] = delivery.dropped
                    continue
                message, arrays = unpack(frames[1:], Upward)
            except WireError:
                self.malformed += 1
                continue
            heard[actor] = delivery.life
            if self.inbox.take(delivery):
                yield message, arrays
        for actor, life in heard.items():
            receipt = self.inbox.receipt(life, self._version)
            self._experience.send_multipart([actor, *pack(receipt)])  # is dropped if that actor is gone

    def publish(self, header: Weights, weights: np.ndarray) -> None:
        """Send weights, (N,) float32, to whoever listens; nobody is waited for."""
        self._version = header.version
        self._weights.send_multipart(pack(header, weights))

    def close(self) -> None:
        """Close both sockets."""
        self._experience.close()
        self._weights.close()


class ActorEnd:
    """Sends experience and reports, takes the newest weights."""

    def __init__(self, context: zmq.Context, addresses: Addresses, actor: int = 0) -> None:
        self.actor, self.outbox = actor, Outbox()
        self._beat_at_s = 0.0
        self._experience = connect(context, zmq.DEALER, addresses.experience, QUEUE)
        self._weights = connect(context, zmq.SUB, addresses.weights, queue=4)
        self._weights.subscribe(b"")

    def send(self, message: Upward, *arrays: np.ndarray) -> bool:
        """Send one message, now or when the learner is there; False when too many wait already and it is dropped.

        Only experience and reports are: a Begin or Undo without which the others would be misunderstood never is.
        """
        kept = self.outbox.put(pack(message, *arrays), droppable=not isinstance(message, Begin | Undo))
        self.deliver()
        return kept

    def deliver(self) -> None:
        """Take receipts, send what is to be sent, and now and then a heartbeat; to be called often."""
        now_s = time.monotonic()
        for frames in drain(self._experience):
            with suppress(WireError):  # it is for the learner to count what strangers send
                self.outbox.receive(unpack(frames, Receipt)[0], now_s)
        self.outbox.send(self._put_on_line, now_s)
        if now_s - self._beat_at_s > BEAT_S and self._put_on_line(pack(Heartbeat(self.actor, self.outbox.dropped))):
            self._beat_at_s = now_s

    def _put_on_line(self, frames: Frames) -> bool:
        try:
            self._experience.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:  # the learner is not there, or QUEUE messages behind
            return False
        return True

    def newest_weights(self, wait_ms: int = 0) -> tuple[Weights, np.ndarray] | None:
        """Return the newest published weights since the last call, or None when there are none."""
        self.deliver()
        self._weights.poll(wait_ms)
        newest = None
        for frames in drain(self._weights):
            newest = frames
        if newest is None:
            return None
        header, (weights,) = unpack(newest, Weights)
        return header, weights

    def close(self) -> None:
        """Close both sockets."""
        self._experience.close()
        self._weights.close()
