"""The line between a driver and a learner in one process, who take turns: the learner's is when the driver waits."""

from collections.abc import Callable, Iterator

import numpy as np

from agent.line.delivery import Inbox
from deploy.wire import EpisodeReport, Experience, Weights


class Loopback:
    """Both ends at once, for the driver what ActorEnd is and for the learner what LearnerEnd is.

    turn: what the learner does when its turn comes; it must publish.
    """

    def __init__(self) -> None:
        self.turn: Callable[[], object] = lambda: None
        self.actor = 0
        self.inbox = Inbox()
        self.malformed, self.dropped = 0, dict[int, int]()
        self.sent = self.arrived = self.version = 0
        self._waiting: list[tuple[Experience | EpisodeReport, list[np.ndarray]]] = []
        self._newest: tuple[Weights, np.ndarray] | None = None

    def send(self, message: Experience | EpisodeReport, *arrays: np.ndarray) -> bool:
        """Keep a message until the learner's turn."""
        self._waiting.append((message, list(arrays)))
        self.sent += 1
        return True

    def newest_weights(self, wait_ms: int = 0) -> tuple[Weights, np.ndarray] | None:
        """Return what was published since the last call; if the driver waits, the learner has its turn first."""
        if wait_ms:
            self.turn()
        newest, self._newest = self._newest, None
        return newest

    def receive(self, wait_ms: int = 0) -> Iterator[tuple[Experience | EpisodeReport, list[np.ndarray]]]:
        """Yield all that was sent."""
        self.arrived = self.sent
        waiting, self._waiting = self._waiting, []
        yield from waiting

    def publish(self, header: Weights, weights: np.ndarray) -> None:
        """Keep weights, (N,) float32, for the driver."""
        self._newest = header, weights.copy()
