"""All that there is to set about learning in one process, and what stands where nothing was set."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import gymnasium

from agent.algorithms.d4pg import D4PGConfig
from agent.algorithms.ddpg import DDPGConfig
from agent.algorithms.td3 import TD3Config
from agent.compiled import has_compiler, worthwhile
from agent.noise import OrnsteinUhlenbeckConfig
from agent.noise.gaussian import GaussianConfig
from agent.noise.parameter import ParameterNoiseConfig
from agent.replay.prioritized import PriorityConfig
from agent.settings import Count, NotNegative, SettingsError, Whole
from agent.sync.tasks import random_returns
from agent.update import Precision


def state_ddpg() -> DDPGConfig:
    """DDPG for control from a state vector; the class's own defaults are those of driving."""
    return DDPGConfig(
        gamma=0.99,  # Lillicrap 2015
        batch_size=256,
        hidden=(256, 256),
        actor_lr=1e-3,  # OurDDPG of Fujimoto 2018, which outdoes Lillicrap's 1e-4
        critic_lr=1e-3,
        max_grad_norm=None,
        preactivation_cost=0.0,
        actor_norm="none",
        critic_norm="none",
    )


@dataclass(frozen=True)
class SyncConfig:
    """Learn any Gymnasium environment with Box actions, in one process."""

    env: str = "Pendulum-v1"  # Gymnasium id, MODULE:ID to import a module first
    algo: Literal["ddpg", "td3", "d4pg"] = "td3"
    steps: Count = 20_000  # of the environment; rl-zoo has 20,000 for Pendulum
    seed: Whole = 0  # of everything that is drawn
    out: Path | None = None  # folder that the run is written to; None = runs/ENV-ALGO-SEED
    resume: bool = False  # go on from the newest checkpoint in that folder
    episode_steps: Count | None = None  # steps until an episode times out; None = as the environment has it
    time_aware: bool = False  # the observation also tells how much of the episode is over; Pardo 2018
    start_steps: Whole = 1000  # random ones before anything is learned; Fujimoto 2018, 10,000 for HalfCheetah and Ant
    lr_schedule: Literal["constant", "linear"] = "constant"  # of Adam's steps; linear falls to 0 by the end
    update_ratio: NotNegative = 1.0  # updates per step, from then on; Fujimoto 2018
    layers: dict[str, Whole] = field(default_factory=dict)  # hidden layer, from 0, that a part of a Dict enters
    action_layer: Whole = 0  # that the action enters in the critic; Lillicrap 2015 has 1
    n_step: Count | None = None  # rewards in a return; None = 5 for D4PG (Barth-Maron 2018), 1 for the others
    replay_capacity: Count = 1_000_000  # transitions; Lillicrap 2015
    prioritised: bool | None = None  # replay; None = only for D4PG (Barth-Maron 2018)
    noise: Literal["none", "gaussian", "ou", "parameter"] = "gaussian"  # how it explores; Fujimoto 2018
    actors: Count = 1  # that take turns, an episode each, with noise from 1/32 to its full strength; Barth-Maron 2018
    compiled: bool | None = None  # learn by one compiled graph; None = if that is worth while, see agent/compiled.py
    precision: Precision = "float32"  # of matrix products; bfloat16 is faster where the processor has it
    evaluate_every: Count = 5000  # steps; Fujimoto 2018
    evaluation_episodes: Count = 10  # without noise; Fujimoto 2018
    checkpoint_every: Count = 10_000  # steps, and on to the episode's end
    priority: PriorityConfig = field(default_factory=PriorityConfig)  # beta grows to 1 by the last step
    gaussian: GaussianConfig = field(default_factory=GaussianConfig)
    ou: OrnsteinUhlenbeckConfig = field(
        default_factory=lambda: OrnsteinUhlenbeckConfig(theta=0.15, sigma=0.2, half_life=None)  # Lillicrap 2015
    )
    parameter: ParameterNoiseConfig = field(default_factory=ParameterNoiseConfig)
    ddpg: DDPGConfig = field(default_factory=state_ddpg)
    td3: TD3Config = field(default_factory=TD3Config)
    d4pg: D4PGConfig = field(default_factory=D4PGConfig)  # its atoms are widened to hold 1.5 times any random return

    @property
    def updates(self) -> int:
        """That so many steps are worth, in the end."""
        return self.due(self.steps)

    def due(self, step: int) -> int:
        """The updates that are to be made by that step."""
        return int(self.update_ratio * (step - self.start_steps))

    @property
    def folder(self) -> Path:
        """Where the run is written to."""
        name = self.env.replace("/", "-").replace(":", "-")
        return self.out or Path("runs") / f"{name}-{self.algo}-{self.seed}"


def resolved(config: SyncConfig, env: gymnasium.Env) -> SyncConfig:
    """The config with every None and the atoms replaced by what is meant.

    D4PG's atoms must hold all returns: they are widened until one and a half times those of random episodes fit. These
    episodes are the same whatever the run's seed, so that the seeds of one experiment share their atoms. Raises
    SettingsError when the run is to be compiled and cannot.
    """
    if config.compiled and not has_compiler():
        raise SettingsError("compiled is True, and there is no C++ compiler here; expected g++ or clang++")
    d4pg = config.d4pg
    if config.algo == "d4pg":
        found = 1.5 * random_returns(env, d4pg.gamma, list(range(5)))
        d4pg = replace(d4pg, v_min=min(d4pg.v_min, float(found.min())), v_max=max(d4pg.v_max, float(found.max())))
    return replace(
        config,
        d4pg=d4pg,
        out=config.folder,
        n_step=config.n_step or (5 if config.algo == "d4pg" else 1),
        compiled=worthwhile(config.updates) if config.compiled is None else config.compiled,
        prioritised=config.algo == "d4pg" if config.prioritised is None else config.prioritised,
    )
