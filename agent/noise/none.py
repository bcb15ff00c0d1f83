"""No exploration: the actor as it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import nn

from agent.noise.explorer import greedy


@dataclass(frozen=True)
class NoNoiseConfig:
    """No noise, nothing to set."""


class NoNoise:
    """Drives by μ(s)."""

    def __init__(self, config: NoNoiseConfig, size: int, rng: np.random.Generator, scale: float = 1.0) -> None:
        self.config = config

    def begin(self, actor: nn.Module, episode: int) -> None:
        """Start an episode."""

    def act(self, actor: nn.Module, obs: Float[np.ndarray, " obs"]) -> Float[np.ndarray, " action"]:
        """Return μ(s)."""
        return greedy(actor, obs)

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
