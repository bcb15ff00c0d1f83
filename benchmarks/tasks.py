"""Public tasks, how long each is learned and with which settings, and what others reached on them."""

from dataclasses import dataclass, field, replace
from typing import Any

from agent.algorithms.d4pg import D4PGConfig
from agent.noise.gaussian import GaussianConfig
from agent.sync.train import SyncConfig

RL_ZOO, TD3_PAPER, ADI = "rl-zoo", "Fujimoto 2018", "adi3e08/DDPG"


@dataclass(frozen=True)
class Published:
    """A score of others: mean, spread if they give one, and where it stands."""

    mean: float
    spread: float | None
    source: str

    def __str__(self) -> str:
        return f"{self.mean:g}" if self.spread is None else f"{self.mean:g} ± {self.spread:g}"

    def verdict(self, mean: float) -> str:
        """Whether ours comes up to it."""
        if mean >= self.mean - (self.spread or 0):
            return "reached"
        return "below" if self.spread is not None else "less; no interval given"


@dataclass(frozen=True)
class Task:
    """An environment, how long it is learned, what differs from SyncConfig's defaults, and what others reached."""

    env: str
    steps: int
    published: dict[str, Published]
    settings: dict[str, Any] = field(default_factory=dict)
    learner: dict[str, Any] = field(default_factory=dict)  # what differs in the algorithm's own settings
    atoms: tuple[float, float] = (-150.0, 150.0)  # least and greatest return that D4PG knows
    needs: str = "gymnasium"  # the package to install


def _long(evaluate_every: int, start_steps: int = 10_000) -> dict[str, Any]:
    return {"evaluate_every": evaluate_every, "start_steps": start_steps}


MUJOCO, PYBULLET, SUITE = (
    "gymnasium[mujoco]",
    "pybullet_envs_gymnasium",
    "shimmy[dm-control] mujoco<4",
)  # dm_control 1.0.50 cannot yet
PAPER_LEARNER = {"batch_size": 100, "hidden": (400, 300), "actor_lr": 1e-3, "critic_lr": 1e-3}  # Fujimoto 2018
BULLET = _long(25_000) | {"time_aware": True, "replay_capacity": 200_000}  # rl-zoo
BULLET_LEARNER = PAPER_LEARNER | {"gamma": 0.98}  # rl-zoo
SUITE_LEARNER = {"batch_size": 64, "actor_lr": 2.5e-4, "critic_lr": 2.5e-4}  # adi3e08/DDPG
TASKS = {
    "Pendulum-v1": Task(
        "Pendulum-v1",
        20_000,
        {
            "ddpg": Published(-152, 94, RL_ZOO),
            "td3": Published(-152, 90, RL_ZOO),
            "d4pg": Published(-123, None, "msinto93/D4PG (v0)"),
        },
        {"evaluate_every": 2000, "evaluation_episodes": 50},
    ),
    "LunarLanderContinuous-v3": Task(
        "LunarLanderContinuous-v3",
        300_000,
        {
            "ddpg": Published(230, 92, RL_ZOO),
            "td3": Published(208, 68, RL_ZOO),
            "d4pg": Published(291, None, "msinto93/D4PG (v2)"),
        },
        _long(10_000),
        atoms=(-400.0, 300.0),
        needs="gymnasium[box2d]",
    ),
    "BipedalWalker-v3": Task(
        "BipedalWalker-v3",
        1_000_000,
        {
            "ddpg": Published(198, 142, RL_ZOO),
            "td3": Published(306, 57, RL_ZOO),
            "d4pg": Published(305, None, "msinto93/D4PG (v2)"),
        },
        _long(25_000),
        needs="gymnasium[box2d]",
    ),
    "HalfCheetah-300k": Task(
        "HalfCheetah-v5",
        300_000,
        {"td3": Published(7697, None, TD3_PAPER)},
        _long(10_000),
        PAPER_LEARNER,
        atoms=(-200.0, 1500.0),
        needs=MUJOCO,
    ),
    "HalfCheetah-v5": Task(
        "HalfCheetah-v5",
        1_000_000,
        {"ddpg": Published(3306, None, TD3_PAPER), "td3": Published(9637, 859, TD3_PAPER)},
        _long(25_000),
        PAPER_LEARNER,
        atoms=(-200.0, 1500.0),
        needs=MUJOCO,
    ),
    "Hopper-v5": Task(
        "Hopper-v5",
        1_000_000,
        {"ddpg": Published(2020, None, TD3_PAPER), "td3": Published(3564, 115, TD3_PAPER)},
        _long(25_000, 1000),
        PAPER_LEARNER,
        atoms=(-50.0, 500.0),
        needs=MUJOCO,
    ),
    "Walker2d-v5": Task(
        "Walker2d-v5",
        1_000_000,
        {"ddpg": Published(1844, None, TD3_PAPER), "td3": Published(4683, 540, TD3_PAPER)},
        _long(25_000, 1000),
        PAPER_LEARNER,
        atoms=(-50.0, 700.0),
        needs=MUJOCO,
    ),
    "HalfCheetahBullet": Task(
        "pybullet_envs_gymnasium:HalfCheetahBulletEnv-v0",
        1_000_000,
        {"ddpg": Published(2078, 208, RL_ZOO), "td3": Published(2822, 20, RL_ZOO)},
        BULLET,
        BULLET_LEARNER,
        atoms=(-200.0, 400.0),
        needs=PYBULLET,
    ),
    "HopperBullet": Task(
        "pybullet_envs_gymnasium:HopperBulletEnv-v0",
        1_000_000,
        {"ddpg": Published(1157, 449, RL_ZOO), "td3": Published(2682, 28, RL_ZOO)},
        BULLET | {"lr_schedule": "linear"},  # without, policies fall and rise to the end, see docs/scores.md
        BULLET_LEARNER,
        atoms=(-100.0, 400.0),
        needs=PYBULLET,
    ),
    "cartpole-swingup": Task(
        "shimmy:dm_control/cartpole-swingup-v0",
        250_000,
        {"ddpg": Published(800, None, ADI)},
        _long(10_000, 1000) | {"gaussian": GaussianConfig(std=0.2)},
        SUITE_LEARNER,
        needs=SUITE,
    ),
    "reacher-hard": Task(
        "shimmy:dm_control/reacher-hard-v0",
        450_000,
        {"ddpg": Published(950, None, ADI)},
        _long(10_000, 1000) | {"gaussian": GaussianConfig(std=0.2)},
        SUITE_LEARNER,
        needs=SUITE,
    ),
}


def settings(task: Task, algo: str) -> SyncConfig:
    """The config of a task's runs."""
    low, high = task.atoms
    config = SyncConfig(
        env=task.env,
        algo=algo,  # type: ignore[arg-type]
        steps=task.steps,
        d4pg=D4PGConfig(v_min=low, v_max=high),
        **task.settings,
    )
    return replace(config, **{algo: replace(getattr(config, algo), **task.learner)})
