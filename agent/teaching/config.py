"""All that there is to set about teaching a car."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from agent.algorithms.d4pg import D4PGConfig
from agent.algorithms.ddpg import DDPGConfig
from agent.algorithms.td3 import TD3Config
from agent.checkpoint import PolicyFacts
from agent.latent import HISTORY
from agent.noise import OrnsteinUhlenbeckConfig
from agent.settings import Count, Positive, SettingsError, Whole
from agent.training.config import Settings, driving_d4pg, driving_td3, widened
from agent.training.ratio import Ratio
from deploy.safety_drivers import SafetyConfig
from deploy.vehicles import VehicleSpec
from perception.encoders.convolutions import EyeConfig

SIMULATION = "sim:LaneFollowing-v0"  # where `lapwing evaluate` drives what was taught


@dataclass(frozen=True)
class TeachConfig:
    """Teach a car to drive its route, an episode at a time, while a safety driver watches."""

    vehicle: str = "simulated"  # which vehicle to teach
    encoder: Path = Path("runs/demo/vae/vae.safetensors")  # pretrained weights, written by `lapwing pretrain`
    episodes: Path = Path("runs/demo/episodes")  # random episodes, which are learned from too
    out: Path = Path("runs/demo/teach")  # folder that the run is written to
    road_seed: Whole = 0  # which road the simulated car is taught on
    length_m: Positive = 250.0  # of the route, metres; Kendall 2018
    period_s: Positive = 0.1  # from one control cycle to the next
    watchdog_s: Positive = 0.15  # s without a valid action until the car brakes to rest; 1.5 periods
    speed: Positive = 1.0  # times real time; a real car has 1
    algo: Literal["ddpg", "td3", "d4pg"] = "ddpg"  # what learns; Kendall 2018
    seed: Whole = 0  # of weights, noise and sampling
    resume: bool = False  # go on from the newest checkpoint in that folder
    dashboard: int | None = None  # port on loopback of the live dashboard, see docs/dashboard.md; none if not given
    replay_capacity: Count = 100_000  # transitions
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    ratio: Ratio = field(default_factory=lambda: Ratio(per_step=1.0, band=0))  # before the car drives again
    noise: OrnsteinUhlenbeckConfig = field(default_factory=OrnsteinUhlenbeckConfig)
    ddpg: DDPGConfig = field(default_factory=DDPGConfig)
    td3: TD3Config = field(default_factory=driving_td3)
    d4pg: D4PGConfig = field(default_factory=driving_d4pg)  # from single steps; atoms are widened where needed

    @property
    def settings(self) -> Settings:
        """Those of the algorithm that learns."""
        return getattr(self, self.algo)


def fitted(config: TeachConfig, car: VehicleSpec, eye: EyeConfig) -> tuple[TeachConfig, PolicyFacts]:
    """The config with D4PG's atoms up to what that car can return, and what its policy is taught for.

    Raises SettingsError where the encoder sees other images than the car takes, or no atoms would do.
    """
    found, expected = (eye.height_px, eye.width_px), (car.image_height, car.image_width)
    if found != expected:
        raise SettingsError(
            f"encoder {config.encoder} sees images of {found} (height, width); the car's are {expected}"
        )
    if config.algo == "d4pg":
        config = replace(config, d4pg=widened(config.d4pg, car.top_speed_mps * config.period_s))
    facts = PolicyFacts(
        run=config.out.name,
        algo=config.algo,
        env=SIMULATION,
        road_seed=config.road_seed,
        length_m=config.length_m,
        obs_size=eye.latent + 2 + 2 * HISTORY,
        action_size=2,
        hidden=config.settings.hidden,
        norm=config.settings.actor_norm,
        activation=config.settings.activation,
        history=HISTORY,
        period_s=config.period_s,
        image_height=car.image_height,
        image_width=car.image_width,
        top_speed_mps=car.top_speed_mps,
        max_steering_rad=car.max_steering_rad,
        max_steering_rate_radps=car.max_steering_rate_radps,
    )
    return config, facts
