"""One environment, one actor and one learner, by turns: what `train_sync` drives step by step."""

import time
from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name

import gymnasium
import numpy as np
import torch
from torch import Tensor

from agent.algorithms import ALGORITHMS
from agent.compiled import Compiled
from agent.noise import RandomStart, Turns, ladder, load_noise
from agent.noise.none import NoNoiseConfig
from agent.pixels import FEATURES
from agent.replay.frames import FrameReplay, inner_size
from agent.replay.n_step import NStep
from agent.replay.prioritized import PrioritizedReplay
from agent.replay.uniform import Replay, Sample
from agent.results.metrics import Episode, Evaluation
from agent.settings import DivergedError, SettingsError
from agent.snapshot import Snapshot, learner_tensors, restore_learner
from agent.sync.config import SyncConfig
from agent.sync.tasks import evaluate, image_shape, layout_of
from agent.update import products_in

WEIGHTS, EXPLORATION, START, SAMPLES, EPISODES, EVALUATIONS = range(6)  # what a seed is derived for


class Run:
    """One environment, one actor and one learner, by turns; another environment to be judged in.

    Some environments remember earlier episodes whatever their seed (BipedalWalker-v3, those of PyBullet). A resumed run
    has new ones, so both are made anew whenever a snapshot is taken: then it makes no difference.
    """

    def __init__(
        self, config: SyncConfig, make: Callable[[], gymnasium.Env], tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self.config, self.make = config, make
        self.env, self.judge = make(), make()
        torch.manual_seed(seed_for(config.seed, WEIGHTS))
        (obs_size,), (action_size,) = self.env.observation_space.shape, self.env.action_space.shape  # type: ignore[misc]
        self.settings = getattr(config, config.algo)
        self.image = image_shape(self.env)
        layout = layout_of(self.env, config.layers, FEATURES, config.action_layer)
        algorithm = resolve_name(ALGORITHMS[config.algo])
        self.algorithm = algorithm(self.settings, obs_size, action_size, layout=layout, image=self.image)
        self.compiled = Compiled(self.algorithm, config.precision, tell) if config.compiled else None
        self.replay = make_replay(config, obs_size, action_size, self.image)
        self.n_step = NStep(config.n_step or 1, self.settings.gamma)
        self.explorer = make_explorer(config, action_size)
        self.steps = self.episodes = self.updates = self.saved_at = 0
        self.began = time.monotonic()
        self.between_episodes = True
        self.obs, self.rewards = np.zeros(obs_size, np.float32), list[float]()
        self.logged: dict[str, Tensor] = {}

    @property
    def seconds(self) -> float:
        """That the run has taken, also before it was resumed."""
        return time.monotonic() - self.began

    def act(self) -> np.ndarray:
        """The action to try next, (a,) in [-1, 1]; begins an episode if none goes on. Raises DivergedError for NaN."""
        if self.between_episodes:
            self.obs, _ = self.env.reset(seed=seed_for(self.config.seed, EPISODES, self.episodes))
            self.explorer.begin(self.algorithm.policy, self.episodes)
            self.between_episodes, self.rewards = False, []
        action = self.explorer.act(self.algorithm.policy, self.obs)
        if not np.isfinite(action).all():
            raise DivergedError(f"the policy says NaN at step {self.steps}: it has diverged; expected smaller steps")
        return action

    def step(self, action: np.ndarray) -> Episode | None:
        """Take a step and store what it completes; returns the episode if it ended."""
        next_obs, reward, terminated, truncated, _ = self.env.step(action)
        self.replay.add(self.n_step.add(self.obs, action, float(reward), terminated, truncated, next_obs))
        self.steps += 1
        self.rewards.append(float(reward))
        self.obs = next_obs
        self.between_episodes = bool(terminated or truncated)
        if not self.between_episodes:
            return None
        self.episodes += 1
        return Episode(self.steps, self.episodes, sum(self.rewards), len(self.rewards), bool(terminated), self.updates)

    def learn(self) -> None:
        """Make the updates that so many steps are worth."""
        self._anneal(self.steps / self.config.steps)
        while self.updates + self.at_once <= self.config.due(self.steps) and len(self.replay):
            samples = [self.replay.sample(self.settings.batch_size) for _ in range(self.at_once)]
            for sample, scalars in zip(samples, self._update(samples), strict=True):
                self.replay.reprioritise(sample.rows, scalars["priority"])
                self.logged |= scalars
            self.updates += self.at_once

    def _anneal(self, progress: float) -> None:
        self.replay.anneal(progress)
        if self.config.lr_schedule == "linear":
            for optimizer in (self.algorithm.actor_optimizer, self.algorithm.critic_optimizer):
                optimizer.anneal(1 - progress)

    @property
    def at_once(self) -> int:
        """Updates that are made in one go."""
        return self.compiled.at_once if self.compiled else 1

    def _update(self, samples: list[Sample]) -> list[dict[str, Tensor]]:
        if self.compiled:
            return self.compiled.update(samples)
        with products_in(self.config.precision):
            return [self.algorithm.update(sample) for sample in samples]

    def scalars(self) -> dict[str, float | Tensor]:
        """Points of the learner's curves: from the latest update, and how fast all goes."""
        rates = {"steps_per_s": self.steps / self.seconds, "updates_per_s": self.updates / self.seconds}
        return self.logged | rates

    def evaluate(self) -> Evaluation:
        """Drive some episodes without noise, from starts that no other evaluation has."""
        count = self.config.evaluation_episodes
        seeds = [seed_for(self.config.seed, EVALUATIONS, self.steps, i) for i in range(count)]
        returns, lengths = evaluate(self.algorithm.policy, self.judge, seeds)
        mean, std, length = (float(x) for x in (returns.mean(), returns.std(), lengths.mean()))
        return Evaluation(self.steps, count, mean, std, length, self.updates, round(self.seconds, 1))

    def due_for_checkpoint(self) -> bool:
        """True at the end of the first episode after a multiple of `checkpoint_every` steps."""
        every = self.config.checkpoint_every
        return self.steps // every > self.saved_at // every

    def snapshot(self) -> Snapshot:
        """All that the run depends on between two episodes (the n-step window is empty); renews the environments."""
        self.close()
        self.env, self.judge = self.make(), self.make()
        self.saved_at = self.steps
        facts = {
            "episodes": self.episodes,
            "updates": self.updates,
            "seconds": self.seconds,
            "explorer": self.explorer.state(),
        }
        return Snapshot(self.steps, learner_tensors(self.algorithm), self.replay.state(), facts)

    def close(self) -> None:
        """Let go of the environments."""
        self.env.close()
        self.judge.close()

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of a run with the same config."""
        facts = snapshot.facts
        restore_learner(self.algorithm, snapshot.tensors)
        self.replay.restore(snapshot.replay)
        self.explorer.restore(facts["explorer"])
        self.steps = self.saved_at = snapshot.step
        self.episodes, self.updates = facts["episodes"], facts["updates"]
        self.began = time.monotonic() - facts["seconds"]


def make_replay(
    config: SyncConfig, obs_size: int, action_size: int, image: tuple[int, int, int] | None
) -> Replay | FrameReplay:
    """An empty replay of the kind that the config asks for; of frames, if observations begin with an image.

    Raises SettingsError when there is no memory for so many transitions.
    """
    generator = torch.Generator().manual_seed(seed_for(config.seed, SAMPLES))
    sizes = config.replay_capacity, inner_size(obs_size, image), action_size
    try:
        kind = partial(PrioritizedReplay, config=config.priority) if config.prioritised else Replay
        ring = kind(*sizes, generator)
        return ring if image is None else FrameReplay(ring, image, recent=2 * (config.n_step or 1))
    except (MemoryError, RuntimeError) as error:  # NumPy's, torch's
        raise SettingsError(f"replay_capacity is {config.replay_capacity}; expected less, memory is short") from error


def make_explorer(config: SyncConfig, action_size: int) -> RandomStart:
    """The config's noise, of every actor its own strength, after the random steps."""
    noise, kind = getattr(config, config.noise, NoNoiseConfig()), load_noise(config.noise)
    rng, start = (np.random.default_rng(seed_for(config.seed, purpose)) for purpose in (EXPLORATION, START))
    scales = [ladder(i, config.actors) for i in range(config.actors)]
    turns = Turns([kind(noise, action_size, rng, scale=scale) for scale in scales])
    return RandomStart(turns, config.start_steps, action_size, start)


def seed_for(run: int, *purpose: int) -> int:
    """A seed of 32 bits, independent for every run's seed and every purpose."""
    return int(np.random.SeedSequence([run, *purpose]).generate_state(1)[0])
