"""The learner: owns the replay, updates whenever updates are due, and publishes the actor's weights."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from agent.channel import LearnerEnd
from agent.checkpoint import flat_weights
from agent.delivery import Inbox
from agent.ratio import Ratio
from agent.replay import Batch, Replay, Sample
from agent.snapshot import Snapshot, learner_tensors, restore_learner, save_snapshot
from agent.train_config import Settings
from deploy.wire import Begin, EpisodeReport, Experience, Undo, Weights

PUBLISH_EVERY = 20  # updates
LEARNED = ("updates", "transitions", "episodes")
COUNTERS = (*LEARNED, "version")
IDLE_MS = 50  # that an idle learner waits for experience before it publishes again, for those who came late

Judge = Callable[[EpisodeReport, np.ndarray | None], bool]
Turn = Callable[[Begin | Undo], None]


class Algorithm(Protocol):
    """What the learner asks of an algorithm; see agent/algorithms/."""

    @property
    def config(self) -> Settings:
        """Its settings."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """All that an update depends on."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there."""
        ...

    @property
    def policy(self) -> nn.Module:
        """What drives."""
        ...

    def update(self, sample: Sample) -> Mapping[str, Tensor]:
        """Learn from a sample; returns scalars to log."""
        ...


class Learner:
    """One algorithm fed by any number of actors; `run` returns when the judge of the reports has seen enough."""

    def __init__(self, algorithm: Algorithm, replay: Replay, ratio: Ratio, line: LearnerEnd) -> None:
        self.algorithm, self.replay, self.ratio, self.line = algorithm, replay, ratio, line
        self.updates = self.transitions = self.episodes = self.version = 0
        self.began = time.monotonic()
        self._logged: dict[str, Tensor] = {}  # by the latest updates
        self._remembered: Snapshot | None = None

    def scalars(self) -> dict[str, float | Tensor]:
        """Points of the learner's curves: from the latest updates, and how fast all goes."""
        seconds = time.monotonic() - self.began
        rates = {"updates_per_s": self.updates / seconds, "steps_per_s": self.transitions / seconds}
        lost = {"dropped_messages": sum(self.line.dropped.values()), "malformed_messages": self.line.malformed}
        return self._logged | rates | lost

    def run(self, judge: Judge, watch: Callable[[], None] = lambda: None, turn: Turn = lambda _: None) -> None:
        """Learn until `judge(report, weights that drove it or None)` returns True for an episode; `watch` meanwhile.

        turn: is told of every Begin and Undo, in the order in which they came among the experience; see `remember`.
        """
        self.publish()
        while True:
            watch()
            if self._listen(judge, turn, wait_ms=0 if self._due() > 0 else IDLE_MS):
                return
            if self._due() > 0:  # asked again, as an Undo may have come
                self._update()
            else:
                self.publish()

    def save(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write a snapshot, with these facts too, into the folder of snapshots; actors may let go of what it holds."""
        save_snapshot(folder, self._snapshot(facts))
        self.line.inbox.saved()

    def _snapshot(self, facts: dict[str, Any]) -> Snapshot:
        own = {name: getattr(self, name) for name in COUNTERS}
        own |= {"seconds": time.monotonic() - self.began, "arrived": list(self.line.inbox.before.items())}
        return Snapshot(self.updates, learner_tensors(self.algorithm), self.replay.state(), facts | own)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there."""
        facts = snapshot.facts
        restore_learner(self.algorithm, snapshot.tensors)
        self.replay.restore(snapshot.replay)
        for name in COUNTERS:
            setattr(self, name, facts[name])
        self.began = time.monotonic() - facts["seconds"]
        self.line.inbox = Inbox(dict(facts["arrived"]))

    def remember(self, facts: dict[str, Any]) -> None:
        """Keep a copy of all that learning changes, and these facts, in memory; `undo` goes back to it, once."""
        snapshot = self._snapshot(facts)
        replay = {name: column.clone() for name, column in snapshot.replay.items()}  # its memory is written on
        self._remembered = snapshot._replace(replay=replay)

    def undo(self) -> dict[str, Any] | None:
        """Be again, to the bit, what was remembered, and return its facts; None where there is nothing to go back to.

        What is not learned does not go back: what has arrived stays known, and versions of the weights only grow.
        """
        snapshot, self._remembered = self._remembered, None
        if snapshot is None:
            return None
        restore_learner(self.algorithm, snapshot.tensors)
        self.replay.restore(snapshot.replay)
        for name in LEARNED:
            setattr(self, name, snapshot.facts[name])
        return snapshot.facts

    def stop(self) -> None:
        """Tell every actor that training is over."""
        self.publish(stop=True)

    def _due(self) -> int:
        """Updates that are worth making now."""
        return self.ratio.due(self.transitions, self.episodes) - self.updates

    def _listen(self, judge: Judge, turn: Turn, wait_ms: int) -> bool:
        for message, arrays in self.line.receive(wait_ms):
            if isinstance(message, Experience):
                self.insert(*arrays)
                self.transitions += len(arrays[0])
                continue
            if isinstance(message, Begin | Undo):
                turn(message)
                continue
            self.episodes += message.kind == "train"
            if judge(message, arrays[0] if arrays else None):
                return True
        return False

    def insert(
        self,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        next_obs: np.ndarray,
    ) -> None:
        """Store transitions; the discount is 0 where the episode terminated and γ elsewhere, time-outs included."""
        discount = np.where(terminated, 0.0, self.algorithm.config.gamma).astype(np.float32)
        columns = (obs, action, reward, discount, next_obs)
        self.replay.add(Batch(*(torch.from_numpy(np.array(column)) for column in columns)))

    def _update(self) -> None:
        self._logged |= self.algorithm.update(self.replay.sample(self.algorithm.config.batch_size))
        self.updates += 1
        if self.updates % PUBLISH_EVERY == 0:
            self.publish()

    def publish(self, stop: bool = False) -> None:
        """Send the newest weights to all actors, with what they have grown from."""
        self.version += 1
        header = Weights(
            version=self.version,
            updates=self.updates,
            transitions=self.transitions,
            episodes=self.episodes,
            due=max(0, self._due() - self.ratio.band),
            stop=stop,
        )
        self.line.publish(header, flat_weights(self.algorithm.policy).numpy())
