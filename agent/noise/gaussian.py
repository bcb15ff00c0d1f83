"""Independent Gaussian noise on the action."""

from dataclasses import dataclass

import numpy as np

from agent.noise.explorer import Additive, annealed
from agent.settings import NotNegative, Positive


@dataclass(frozen=True)
class GaussianConfig:
    """N(0, std²), drawn anew at every step and for every component."""

    std: NotNegative = 0.1  # action units; Fujimoto 2018 (Acme's D4PG has 0.3)
    half_life: Positive | None = None  # episodes until std halves, None = never; Fujimoto 2018 does not anneal


class Gaussian(Additive):
    """White noise."""

    def __init__(self, config: GaussianConfig, size: int, rng: np.random.Generator, scale: float = 1.0) -> None:
        self.config, self.scale = config, scale
        super().__init__(size, rng)

    def reset(self, episode: int) -> None:
        """Begin an episode with the standard deviation annealed."""
        self.std = annealed(self.scale * self.config.std, episode, self.config.half_life)

    def __call__(self) -> np.ndarray:
        """Return the next noise vector, (size,) float64 in action units."""
        return self.std * self.rng.standard_normal(self.size)
