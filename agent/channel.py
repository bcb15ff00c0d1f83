"""The two ends of the line between actors and the learner: experience goes up, weights come down."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import zmq

from deploy.sockets import bind, connect, drain
from deploy.wire import EpisodeReport, Experience, Weights, WireError, pack, unpack

QUEUE = 256  # messages that may wait before a sender blocks
UPWARD = Experience | EpisodeReport


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
        self._inbox = bind(context, zmq.PULL, addresses.experience, QUEUE)
        self._weights = bind(context, zmq.PUB, addresses.weights, queue=1)

    def receive(self, wait_ms: int = 0) -> Iterator[tuple[Experience | EpisodeReport, list[np.ndarray]]]:
        """Yield what has arrived, waiting at most `wait_ms` for the first."""
        self._inbox.poll(wait_ms)
        for frames in drain(self._inbox):
            try:
                yield unpack(frames, UPWARD)
            except WireError:
                self.malformed += 1

    def publish(self, header: Weights, weights: np.ndarray) -> None:
        """Send weights, (N,) float32, to whoever listens; nobody is waited for."""
        self._weights.send_multipart(pack(header, weights))

    def close(self) -> None:
        """Close both sockets."""
        self._inbox.close()
        self._weights.close()


class ActorEnd:
    """Sends experience and reports, takes the newest weights."""

    def __init__(self, context: zmq.Context, addresses: Addresses) -> None:
        self._outbox = connect(context, zmq.PUSH, addresses.experience, QUEUE)
        self._weights = connect(context, zmq.SUB, addresses.weights, queue=4)
        self._weights.subscribe(b"")

    def send(self, message: Experience | EpisodeReport, *arrays: np.ndarray, wait_ms: int) -> bool:
        """Send one message; False if for `wait_ms` the learner was QUEUE messages behind, or not there at all."""
        ready = self._outbox.poll(wait_ms, zmq.POLLOUT) != 0
        if ready:
            self._outbox.send_multipart(pack(message, *arrays))
        return ready

    def newest_weights(self, wait_ms: int = 0) -> tuple[Weights, np.ndarray] | None:
        """Return the newest published weights since the last call, or None when there are none."""
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
        self._outbox.close()
        self._weights.close()
