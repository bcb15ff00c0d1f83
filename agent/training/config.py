"""All that there is to set about learning to drive, and what stands where nothing was set."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from agent.algorithms.d4pg import D4PGConfig
from agent.algorithms.ddpg import DDPGConfig
from agent.algorithms.td3 import TD3Config
from agent.noise import OrnsteinUhlenbeckConfig
from agent.settings import Count, Positive, SettingsError, Whole
from agent.training.online import OnlineConfig
from agent.training.ratio import Ratio
from perception.sight import LEARNED

Settings = DDPGConfig | TD3Config | D4PGConfig


def driving_td3() -> TD3Config:
    """TD3 for driving, with all that it shares with DDPG as DDPG has it; the class's own defaults are MuJoCo's."""
    return TD3Config(
        gamma=0.95,
        batch_size=128,
        hidden=(128, 128),
        critic_lr=1e-3,
        max_grad_norm=1.0,
        preactivation_cost=3e-2,
        actor_norm="layer",
        critic_norm="layer",
    )


def driving_d4pg() -> D4PGConfig:
    """D4PG for driving, with all that it shares with DDPG as DDPG has it.

    Its atoms, one per 0.1 m, hold what a car returns that drives 2.78 m/s at 10 Hz for ever: 0.278 / (1 − γ) = 5.6 m.
    """
    return D4PGConfig(
        gamma=0.95,
        batch_size=128,
        hidden=(128, 128),
        actor_lr=3e-4,
        critic_lr=1e-3,
        v_min=-1.0,
        v_max=6.0,
        atoms=71,
        max_grad_norm=1.0,
        preactivation_cost=3e-2,
    )


@dataclass(frozen=True)
class TrainConfig:
    """Learn to drive a route by an asynchronous learner."""

    encoder: Path = Path("runs/demo/vae/vae.safetensors")  # `lapwing pretrain` wrote it; pixels, online = learn to see
    episodes: Path = Path("runs/demo/episodes")  # random episodes, which are learned from too
    strict: bool = False  # what is damaged in them is an error; else it is left out with a warning
    out: Path = Path("runs/demo/train")  # folder that the run is written to
    env: str = "sim:LaneFollowing-v0"  # Gymnasium id
    scenario: str = "paper"  # of worlds; a name in sim.scenario.SCENARIOS
    roads: Literal["fixed", "held_in"] = "fixed"  # the route of road_seed, or a new road every episode
    road_seed: Whole = 0  # which road
    length_m: Positive = 250.0  # of the route, metres; Kendall 2018
    algo: Literal["ddpg", "td3", "d4pg"] = "ddpg"  # what learns; Kendall 2018
    seed: Whole = 0  # of weights, noise and sampling
    sync: bool = False  # drive and learn by turns in one process, as Kendall 2018; depends on the seed alone
    actors: Count = 1  # processes that drive
    envs_per_actor: Count = 1  # cars of each; of all the first has the full noise, the last 1/32; Barth-Maron 2018
    launcher: Literal["local", "ray"] = "local"  # of actors: processes of this machine, or of a Ray cluster
    address: str | None = None  # of the Ray cluster, HOST:PORT or auto; None = Ray is started here
    listen: str | None = None  # tcp://HOST:PORT for actors on other machines (`lapwing act`); PORT + 1 is used too
    keys: Path | None = None  # folder `server` that `lapwing keys` wrote; without it they must be on this machine
    dashboard: int | None = None  # port on loopback of the live dashboard, see docs/dashboard.md; none if not given
    resume: bool = False  # go on from the newest checkpoint in that folder
    checkpoint_every: Count = 2000  # updates, and on to the end of an episode
    max_episodes: Count = 150  # of the car that tests, until it is given up; other cars' do not count
    passes: Count = 3  # tests in a row that must drive the whole route
    restart_after: Count = 10  # tests in a row short of the whole route until the networks start anew; Nikishin 2022
    publish_every: Count = 20  # updates until actors are sent new weights
    replay_capacity: Count = 100_000  # transitions
    ratio: Ratio = field(default_factory=Ratio)
    online: OnlineConfig = field(default_factory=OnlineConfig)  # the VAE with --encoder online
    noise: OrnsteinUhlenbeckConfig = field(default_factory=OrnsteinUhlenbeckConfig)
    ddpg: DDPGConfig = field(default_factory=DDPGConfig)
    td3: TD3Config = field(default_factory=driving_td3)
    d4pg: D4PGConfig = field(default_factory=driving_d4pg)  # from single steps; atoms are widened where needed

    @property
    def settings(self) -> Settings:
        """Those of the algorithm that learns."""
        return getattr(self, self.algo)


def insist_on_sense(config: TrainConfig) -> None:
    """Raise SettingsError where one setting needs another."""
    if config.address and config.launcher != "ray":
        raise SettingsError(f"address is {config.address} but launcher is {config.launcher}; expected --launcher ray")
    if config.keys and not config.listen:
        raise SettingsError(f"keys is {config.keys} but nobody listens; expected --listen tcp://HOST:PORT too")
    if config.sync and (config.listen or config.launcher != "local"):
        raise SettingsError("sync is for one process, without --listen and --launcher ray")
    if config.encoder in LEARNED and not config.sync:
        raise SettingsError(
            f"encoder is {config.encoder}: frames are too many to be kept for a learner elsewhere; expected --sync"
        )


def resolved(config: TrainConfig, top_m: float) -> TrainConfig:
    """The config with what None means, and D4PG's atoms up to the return of a vehicle that makes `top_m` metres a step.

    Raises SettingsError where no atoms would do.
    """
    if config.ratio.per_step is None:
        config = replace(config, ratio=replace(config.ratio, per_step=0.0 if config.sync else 1.0))
    return replace(config, d4pg=widened(config.d4pg, top_m)) if config.algo == "d4pg" else config


def widened(d4pg: D4PGConfig, top_m: float) -> D4PGConfig:
    """The settings with atoms up to the return of a vehicle that makes at most `top_m` metres in a step.

    Raises SettingsError where no atoms would do.
    """
    if not d4pg.gamma < 1:
        raise SettingsError(f"d4pg.gamma is {d4pg.gamma:g}; expected less than 1, or returns outgrow all atoms")
    return replace(d4pg, v_max=max(d4pg.v_max, top_m / (1 - d4pg.gamma)))
