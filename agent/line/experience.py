"""Transitions on their way to the learner: those that an actor lives through, and those of recorded random episodes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from agent.checkpoint import PolicyFacts
from agent.latent import MIRROR_ACTION, MIRROR_STATE, latents
from deploy.observation import StateVector
from perception.dataset import Dataset
from perception.encoders.convolutions import EyeConfig
from perception.shards import DatasetError, Episode
from perception.sight import Sight


@dataclass
class Transitions:
    """Consecutive transitions of an episode on their way to the learner."""

    obs: list[np.ndarray] = field(default_factory=list)
    action: list[np.ndarray] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    next_obs: list[np.ndarray] = field(default_factory=list)

    def add(self, obs: np.ndarray, action: np.ndarray, reward: float, terminated: bool, next_obs: np.ndarray) -> None:
        """Append one transition; the action is the one that was executed."""
        row = (obs, action, reward, terminated, next_obs)
        for column, value in zip(vars(self).values(), row, strict=True):
            column.append(value)

    def __len__(self) -> int:
        return len(self.reward)

    def arrays(self) -> list[np.ndarray]:
        """obs (n, obs), action (n, action), reward (n,) float32, terminated (n,) bool, next_obs (n, obs)."""
        kinds = (np.float32, np.float32, np.float32, np.bool_, np.float32)
        return [np.array(column, kind) for column, kind in zip(vars(self).values(), kinds, strict=True)]


def random_experience(dataset: Path, encoder: Sight, facts: PolicyFacts) -> Iterator[Transitions]:
    """The transitions of a dataset, as lived and mirrored, so that learning starts with many roads and mishaps seen.

    They come an episode at a time, as pixels take memory. Raises DatasetError as `usable` does.
    """
    for episode in usable(dataset, encoder.config).episodes():
        transitions = Transitions()
        states = np.array(list(_state_vectors(episode, facts)))
        executed = episode.states[1:, 2:4]
        _append(transitions, episode, latents(encoder, episode.images), states, executed)
        flipped = latents(encoder, episode.images[:, :, ::-1].copy())
        _append(transitions, episode, flipped, states * MIRROR_STATE, executed * MIRROR_ACTION)
        yield transitions


def usable(folder: Path, encoder: EyeConfig, *, strict: bool = False) -> Dataset:
    """The dataset there, if one can learn to drive from it.

    Raises DatasetError, naming the folder, when images have another size than the encoder's, a state or reward is not
    known, or no step is taken in it.
    """
    dataset = Dataset(folder, strict=strict)
    found, expected = dataset.header.size, (encoder.height_px, encoder.width_px)
    if found != expected:
        raise DatasetError(f"{folder}: images are {found} pixels (height, width), the encoder's are {expected}")
    if len(dataset) == len(dataset.lengths):
        raise DatasetError(f"{folder}: holds {len(dataset)} frames and no step between two to learn from")
    goes_on = ~np.isnan(dataset.column("action")).any(axis=1)
    for name, values in (("state", dataset.column("state")), ("reward", dataset.column("reward")[goes_on])):
        if np.isnan(values).any():
            raise DatasetError(f"{folder}: {name} is not known (NaN) of some frames, one can only pretrain with it")
    return dataset


def _append(
    transitions: Transitions, episode: Episode, z: np.ndarray, states: np.ndarray, executed: np.ndarray
) -> None:
    obs = np.concatenate([z, states], axis=1)
    for i, (action, reward) in enumerate(zip(executed, episode.rewards, strict=True)):
        last = i == len(executed) - 1
        transitions.add(obs[i], action, float(reward), bool(last and episode.terminated), obs[i + 1])


def _state_vectors(episode: Episode, facts: PolicyFacts) -> Iterator[np.ndarray]:
    """What the policy would have seen beside each image."""
    vector = StateVector(facts.top_speed_mps, facts.max_steering_rad, facts.history)
    for i, (speed_mps, steering_rad, *executed) in enumerate(episode.states):
        if i > 0:
            vector.executed(executed)
        yield vector.assemble(speed_mps, steering_rad)
