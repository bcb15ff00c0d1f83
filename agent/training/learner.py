"""The learner: owns the replay, updates whenever updates are due, and publishes the actor's weights."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from agent.algorithms import ALGORITHMS
from agent.checkpoint import PolicyFacts, flat_weights
from agent.latent import RateLimit
from agent.line.channel import LearnerEnd
from agent.line.delivery import Inbox
from agent.line.loopback import Loopback
from agent.pixels import ToLatent
from agent.replay.frames import FrameReplay, inner_size
from agent.replay.uniform import Batch, Replay, Sample
from agent.snapshot import Snapshot, learner_tensors, restore_learner, save_snapshot
from agent.training.config import Settings
from agent.training.online import Online, OnlineConfig
from agent.training.ratio import Ratio
from deploy.wire import Begin, EpisodeReport, Experience, Undo, Weights

LEARNED = ("updates", "transitions", "episodes")
COUNTERS = (*LEARNED, "version")
UNSEEN = 1_000_000  # versions more than a learner publishes between two checkpoints
INTERLEAVED = 4  # latest frames among which one that came before is: as lived, as mirrored, before and after a step
IDLE_MS = 50  # that an idle learner waits for experience before it publishes again, for those who came late


class DivergedError(RuntimeError):
    """The weights are no numbers any more."""

    exit_code = 2


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

    @property
    def value(self) -> nn.Module:
        """What an action is worth: (obs as encoded, action) → (batch,)."""
        ...

    def update(self, sample: Sample) -> Mapping[str, Tensor]:
        """Learn from a sample; returns scalars to log."""
        ...


def make_algorithm(algo: str, settings: Settings, facts: PolicyFacts, online: OnlineConfig | None = None) -> Algorithm:
    """A fresh one for a vehicle whose steering moves only so fast; its weights are drawn from torch's own generator.

    online: settings of the VAE that learns beside it, where the policy has one.
    """
    limit = RateLimit(facts.steering_reach)
    image = ToLatent(facts.vae, online.joint) if facts.vae and online else facts.seen
    algorithm = resolve_name(ALGORITHMS[algo])(settings, facts.obs_size, facts.action_size, limit, image=image)
    return Online(algorithm, algorithm.encoder, online) if facts.vae and online else algorithm


def make_replay(capacity: int, facts: PolicyFacts, generator: torch.Generator) -> Replay | FrameReplay:
    """An empty one for observations of a policy; where it sees pixels, it holds each frame once."""
    inner = Replay(capacity, inner_size(facts.obs_size, facts.image), facts.action_size, generator)
    return inner if facts.image is None else FrameReplay(inner, facts.image, recent=INTERLEAVED)


class Learner:
    """One algorithm fed by any number of actors; `run` returns when the judge of the reports has seen enough."""

    def __init__(
        self,
        algorithm: Algorithm,
        replay: Replay | FrameReplay,
        ratio: Ratio,
        line: LearnerEnd | Loopback,
        publish_every: int = 20,
    ) -> None:
        self.algorithm, self.replay, self.ratio, self.line = algorithm, replay, ratio, line
        self.updates = self.transitions = self.episodes = self.version = self.first_version = 0
        self.began = time.monotonic()
        self._publish_every = publish_every  # updates
        self._weights = len(flat_weights(algorithm.policy))
        self._logged: dict[str, Tensor] = {}  # by the latest updates
        self._remembered: Snapshot | None = None

    @property
    def seconds(self) -> float:
        """That the run has taken, also before it was resumed."""
        return time.monotonic() - self.began

    def scalars(self) -> dict[str, float | Tensor]:
        """Points of the learner's curves: from the latest updates, and how fast all goes."""
        seconds = self.seconds
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
            idle, episodes = self.due <= 0, self.episodes
            if self._listen(judge, turn, wait_ms=IDLE_MS if idle else 0):
                return
            if idle or self.episodes > episodes:  # whose driver waits for weights
                self.publish()
            if self.due > 0:
                self._update()

    def take_turn(self, judge: Judge) -> bool:
        """Take all that has arrived, make all updates that are due, publish; returns what the judge of it says."""
        over = self._listen(judge, lambda _: None, wait_ms=0)
        while self.due > 0 and not over:
            self._update()
        self.publish(stop=over)
        return over

    def save(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write a snapshot, with these facts too, into the folder of snapshots; actors may let go of what it holds."""
        save_snapshot(folder, self._snapshot(facts))
        self.line.inbox.saved()

    def _snapshot(self, facts: dict[str, Any]) -> Snapshot:
        own = {name: getattr(self, name) for name in COUNTERS}
        own |= {"seconds": self.seconds, "arrived": list(self.line.inbox.before.items())}
        return Snapshot(self.updates, learner_tensors(self.algorithm), self.replay.state(), facts | own)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there; versions go on beyond what any actor has seen of the learner that was lost."""
        facts = snapshot.facts
        restore_learner(self.algorithm, snapshot.tensors)
        self.replay.restore(snapshot.replay)
        for name in COUNTERS:
            setattr(self, name, facts[name])
        self.first_version = self.version = self.version + UNSEEN
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

    @property
    def due(self) -> int:
        """Updates that are worth making now."""
        return self.ratio.due(self.transitions, self.episodes) - self.updates

    def _listen(self, judge: Judge, turn: Turn, wait_ms: int) -> bool:
        for message, arrays in self.line.receive(wait_ms):
            if isinstance(message, Begin | Undo):
                turn(message)
                continue
            if not self._fit(message, arrays):
                self.line.malformed += 1
                continue
            if isinstance(message, Experience):
                self.take(*arrays)
                continue
            self.episodes += message.kind == "train"
            if judge(message, arrays[0] if arrays else None):
                return True
        return False

    def _fit(self, message: Experience | EpisodeReport, arrays: list[np.ndarray]) -> bool:
        """True if these are transitions of our environment, or an episode with weights of our actor or none."""
        if isinstance(message, EpisodeReport):
            numbers = message.distance_m, message.reward, message.wall_s
            found, expected = [(array.dtype.str, array.shape) for array in arrays], ("<f4", (self._weights,))
            return found in ([], [expected]) and bool(np.isfinite(numbers).all())
        obs, action = self.replay.obs_size, self.replay.action_size
        n = (len(arrays[0]) if len(arrays) == 5 and arrays[0].ndim else 0,)
        expected = [("<f4", (*n, obs)), ("<f4", (*n, action)), ("<f4", n), ("|b1", n), ("<f4", (*n, obs))]
        return [(array.dtype.str, array.shape) for array in arrays] == expected and bool(
            all(np.isfinite(array).all() for array in arrays)
        )

    def take(
        self,
        obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        next_obs: np.ndarray,
    ) -> None:
        """Count and store transitions; the discount is 0 where an episode terminated, else γ, time-outs included."""
        self.transitions += len(reward)
        discount = np.where(terminated, 0.0, self.algorithm.config.gamma).astype(np.float32)
        columns = (obs, action, reward, discount, next_obs)
        self.replay.add(Batch(*(torch.from_numpy(np.array(column)) for column in columns)))

    def _update(self) -> None:
        self._logged |= self.algorithm.update(self.replay.sample(self.algorithm.config.batch_size))
        self.updates += 1
        if self.updates % self._publish_every == 0 or self.due == 0:
            self.publish()

    def publish(self, stop: bool = False) -> None:
        """Send the newest weights to all actors, with what they have grown from.

        Raises DivergedError rather than send what nobody could drive by.
        """
        weights = flat_weights(self.algorithm.policy).numpy()
        if not np.isfinite(weights).all():
            raise DivergedError(f"the actor's weights are not finite after {self.updates} updates; try a lower lr")
        self.version += 1
        header = Weights(
            version=self.version,
            updates=self.updates,
            transitions=self.transitions,
            episodes=self.episodes,
            due=max(0, self.due - self.ratio.band),
            stop=stop,
        )
        self.line.publish(header, weights)
