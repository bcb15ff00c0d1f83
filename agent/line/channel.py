"""The two ends of the line between actors and the learner: experience goes up, receipts and weights come down.

Neither end waits for the other. What an actor sends is delivered once (`delivery.py`); of weights the newest count.
Between machines both ends have keys (`deploy/keys.py`), so that each speaks only with whom it knows. What is no message
of ours, or does not fit, is counted as malformed and dropped, whoever sent it.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import zmq

from agent.line.delivery import Frames, Inbox, Outbox
from deploy.keys import ClientKeys, ServerKeys
from deploy.sockets import AddressError, bind, connect, drain
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
UNREAD = 64  # weights that wait for an actor; one that has no room for the last ones does not hear that all is over
Upward = Experience | EpisodeReport | Begin | Undo


class Addresses(NamedTuple):
    """Where the learner listens."""

    experience: str
    weights: str


def local_addresses(folder: str) -> Addresses:
    """Return addresses inside a folder of this machine; a socket's path has at most 107 characters."""
    return Addresses(f"ipc://{folder}/experience", f"ipc://{folder}/weights")


class LearnerEnd:
    """Receives from every actor, publishes to all; with keys, only the actors that they name are let in.

    Raises AddressError.
    """

    def __init__(self, context: zmq.Context, addresses: Addresses, keys: ServerKeys | None = None) -> None:
        self.malformed = 0
        self.inbox = Inbox()
        self._version = 0
        self.heard_at_s: dict[int, float] = {}  # by actor, on the monotonic clock
        self.dropped: dict[int, int] = {}  # messages, by actor
        self._experience = bind(context, zmq.ROUTER, addresses.experience, QUEUE, keys)
        try:
            self._weights = bind(context, zmq.PUB, addresses.weights, queue=1, keys=keys)
        except AddressError:
            self._experience.close()
            raise

    @property
    def addresses(self) -> Addresses:
        """Where it listens: of tcp://HOST:0, the port that was free."""
        return Addresses(*(socket.getsockopt_string(zmq.LAST_ENDPOINT) for socket in (self._experience, self._weights)))

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
    """Sends experience and reports, takes the newest weights; with keys, from the learner that they name.

    size: N of the weights that it takes, None for any. Raises AddressError.
    """

    def __init__(
        self,
        context: zmq.Context,
        addresses: Addresses,
        actor: int = 0,
        keys: ClientKeys | None = None,
        size: int | None = None,
    ) -> None:
        self.actor, self.outbox = actor, Outbox()
        self.malformed = 0
        self.heard_at_s = 0.0  # when weights came last, on the monotonic clock
        self._size = size
        self._beat_at_s = 0.0
        self._experience = connect(context, zmq.DEALER, addresses.experience, QUEUE, keys)
        try:
            self._weights = connect(context, zmq.SUB, addresses.weights, UNREAD, keys)
        except AddressError:
            self._experience.close()
            raise
        self._weights.subscribe(b"")

    def send(self, message: Upward, *arrays: np.ndarray) -> bool:
        """Send one message, now or when the learner is there; False when too many wait already and it is dropped.

        Only experience and reports are: a Begin or Undo without which the others would be misunderstood never is.
        """
        kept = self.outbox.put(pack(message, *arrays), droppable=not isinstance(message, Begin | Undo))
        self.deliver()
        return kept

    @property
    def sent(self) -> int:
        """How many messages there were so far."""
        return self.outbox.end

    @property
    def arrived(self) -> int:
        """How many of them the learner is known to have."""
        return self.outbox.arrived

    @property
    def version(self) -> int:
        """That the newest weights had when the learner said so."""
        return self.outbox.version

    def deliver(self) -> None:
        """Take receipts, send what is to be sent, and now and then a heartbeat; to be called often."""
        now_s = time.monotonic()
        for frames in drain(self._experience):
            try:
                self.outbox.receive(unpack(frames, Receipt)[0], now_s)
            except WireError:
                self.malformed += 1
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
        """Return the newest good weights since the last call, (N,) finite float32, or None when there are none."""
        self.deliver()
        self._weights.poll(wait_ms)
        newest = None
        for frames in drain(self._weights):
            try:
                newest = self._read(frames)
            except WireError:
                self.malformed += 1
        if newest:
            self.heard_at_s = time.monotonic()
        return newest

    def _read(self, frames: Frames) -> tuple[Weights, np.ndarray]:
        """Raise WireError if these are no weights, or none that an actor could drive by."""
        header, arrays = unpack(frames, Weights)
        match arrays:
            case [weights] if self._fit(weights):
                return header, weights
        raise WireError("array", f"expected {self._size or 'some'} finite float32 weights")

    def _fit(self, weights: np.ndarray) -> bool:
        expected = (self._size or weights.size,)
        return weights.dtype == np.float32 and weights.shape == expected and bool(np.isfinite(weights).all())

    def close(self) -> None:
        """Close both sockets."""
        self._experience.close()
        self._weights.close()
