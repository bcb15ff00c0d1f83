"""What every kind of exploration has in common."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import nn


class NoiseError(ValueError):
    """There is no such noise, or it does not suit the actor."""

    exit_code = 2


class Explorer(Protocol):
    """Made from its config, the size of an action, a generator and optionally a scale of its strength."""

    def begin(self, actor: nn.Module, episode: int) -> None:
        """Start an episode with that actor; how many came before anneals the noise."""
        ...

    def act(self, actor: nn.Module, obs: Float[np.ndarray, " obs"]) -> Float[np.ndarray, " action"]:
        """Return the action to try, float32 in [-1, 1]; the actor is the newest, its weights stay as they are."""
        ...

    def state(self) -> dict[str, Any]:
        """What must be saved between two episodes to explore on as if nothing had been; JSON-ready."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        ...


def greedy(actor: nn.Module, obs: Float[np.ndarray, " obs"]) -> Float[np.ndarray, " action"]:
    """μ(s) without noise, (a,) float32 in [-1, 1]."""
    with torch.inference_mode():
        return actor(torch.from_numpy(obs)[None])[0].numpy()


class Additive(ABC):
    """Noise on top of μ(s). A kind of it says how it begins an episode (`reset`) and what comes next (`__call__`)."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        self.reset(0)

    @abstractmethod
    def reset(self, episode: int) -> None:
        """Forget the last episode."""

    @abstractmethod
    def __call__(self) -> np.ndarray:
        """Return the next noise vector, (size,) float64 in action units."""

    def begin(self, actor: nn.Module, episode: int) -> None:
        """Start an episode."""
        self.reset(episode)

    def act(self, actor: nn.Module, obs: Float[np.ndarray, " obs"]) -> Float[np.ndarray, " action"]:
        """Return μ(s) plus noise, clipped to [-1, 1]."""
        return np.clip(greedy(actor, obs) + self(), -1, 1).astype(np.float32)

    def state(self) -> dict[str, Any]:
        """Where the generator stands."""
        return {"rng": self.rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.rng.bit_generator.state = state["rng"]


def annealed(strength: float, episode: int, half_life: float | None) -> float:
    """strength·2^(−episode / half-life), or the strength itself when it has none."""
    return strength if half_life is None else strength * 2.0 ** (-episode / half_life)
