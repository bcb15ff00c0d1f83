"""Ornstein-Uhlenbeck noise on the action: correlated in time, so that a car with inertia follows it."""

from dataclasses import dataclass

import numpy as np

from agent.noise.explorer import Additive, annealed
from agent.settings import NotNegative, Positive


@dataclass(frozen=True)
class OrnsteinUhlenbeckConfig:
    """x ← x − θ·x·Δt + σ·√Δt·N(0, 1); with Δt = 1 the discrete form of Kendall 2018.

    stable-baselines3's noise is theta=0.15, sigma=0.2 (Lillicrap 2015), dt=0.01, half_life=None.
    """

    theta: NotNegative = 0.6  # pull towards zero, per unit of time; Kendall 2018
    sigma: NotNegative = 0.4  # kick per √(unit of time), in action units; Kendall 2018
    half_life: Positive | None = 250.0  # episodes until sigma halves, None = never; Kendall 2018
    dt: Positive = 1.0  # units of time in a control period; Kendall 2018


class OrnsteinUhlenbeck(Additive):
    """Its standard deviation settles at σ/√(2θ − θ²Δt), its autocorrelation is 1 − θΔt per step."""

    def __init__(
        self, config: OrnsteinUhlenbeckConfig, size: int, rng: np.random.Generator, scale: float = 1.0
    ) -> None:
        self.config, self.scale = config, scale
        super().__init__(size, rng)

    def reset(self, episode: int) -> None:
        """Begin an episode at zero, with sigma annealed to σ·2^(−episode / half-life)."""
        self.x = np.zeros(self.size)
        self.sigma = annealed(self.scale * self.config.sigma, episode, self.config.half_life)

    def __call__(self) -> np.ndarray:
        """Return the next noise vector, (size,) float64 in action units."""
        theta, dt = self.config.theta, self.config.dt
        self.x = self.x - theta * dt * self.x + self.sigma * np.sqrt(dt) * self.rng.standard_normal(self.size)
        return self.x
