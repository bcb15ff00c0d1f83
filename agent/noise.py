"""Exploration noise, added to the policy's action while it learns."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OrnsteinUhlenbeckConfig:
    """x ← x + θ(μ − x) + σ·N(0, 1) with μ = 0, the discrete form of Kendall 2018."""

    theta: float = 0.6  # pull towards zero, per control period; Kendall 2018
    sigma: float = 0.4  # kick per control period, in action units; Kendall 2018
    half_life: float = 250.0  # episodes until sigma halves; Kendall 2018


class OrnsteinUhlenbeck:
    """Correlated noise: its standard deviation settles at σ/√(2θ − θ²), its autocorrelation is 1 − θ per step."""

    def __init__(self, config: OrnsteinUhlenbeckConfig, size: int, rng: np.random.Generator) -> None:
        self.config, self.rng = config, rng
        self.x = np.zeros(size)
        self.sigma = config.sigma

    def reset(self, episode: int) -> None:
        """Begin an episode at zero, with sigma annealed to σ·2^(−episode / half-life)."""
        self.x = np.zeros_like(self.x)
        self.sigma = self.config.sigma * 2.0 ** (-episode / self.config.half_life)

    def __call__(self) -> np.ndarray:
        """Return the next noise vector, (size,) float64 in action units."""
        self.x = self.x - self.config.theta * self.x + self.sigma * self.rng.standard_normal(len(self.x))
        return self.x
