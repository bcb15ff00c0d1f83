"""What the algorithms come to on public tasks, beside published scores.

    python -m benchmarks.scores --tasks Pendulum-v1 --algos ddpg td3 d4pg --seeds 5 [--json]
    python -m benchmarks.scores --list

Runs one after another in one process on one thread, at the lowest priority, so that it may go on in the background for
days. A broken-off call goes on where it was when it is made again: a run from its last checkpoint under runs/scores/, a
finished one not at all. Of a finished run, config.json and evaluations.csv stay in benchmarks/results/scores/, where
`lapwing plot` finds them. The score of a run is the mean return of its last evaluation, not of its best.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.algorithms import ALGORITHMS
from agent.algorithms.d4pg import D4PGConfig
from agent.metrics import read_evaluations
from agent.snapshot import snapshots
from agent.sync import SyncConfig, train_sync
from agent.update import Precision

RESULTS, RUNS = Path("benchmarks/results/scores"), Path("runs/scores")
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


MUJOCO, BULLET, SUITE = (
    "gymnasium[mujoco]",
    "pybullet_envs_gymnasium",
    "shimmy[dm-control] mujoco<4",
)  # dm_control 1.0.50 cannot yet
BULLET_LEARNER = {"gamma": 0.98, "batch_size": 100, "actor_lr": 1e-3, "critic_lr": 1e-3}  # rl-zoo
SUITE_LEARNER = {"batch_size": 64}  # Lillicrap 2015
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
        "HalfCheetah-v5", 300_000, {"td3": Published(7697, None, TD3_PAPER)}, _long(10_000), atoms=(-200.0, 1500.0), needs=MUJOCO
    ),
    "HalfCheetah-v5": Task(
        "HalfCheetah-v5",
        1_000_000,
        {"ddpg": Published(3306, None, TD3_PAPER), "td3": Published(9637, 859, TD3_PAPER)},
        _long(25_000),
        atoms=(-200.0, 1500.0),
        needs=MUJOCO,
    ),
    "Hopper-v5": Task(
        "Hopper-v5",
        1_000_000,
        {"ddpg": Published(2020, None, TD3_PAPER), "td3": Published(3564, 115, TD3_PAPER)},
        _long(25_000, 1000),
        atoms=(-50.0, 500.0),
        needs=MUJOCO,
    ),
    "Walker2d-v5": Task(
        "Walker2d-v5",
        1_000_000,
        {"ddpg": Published(1844, None, TD3_PAPER), "td3": Published(4683, 540, TD3_PAPER)},
        _long(25_000, 1000),
        atoms=(-50.0, 700.0),
        needs=MUJOCO,
    ),
    "HalfCheetahBullet": Task(
        "pybullet_envs_gymnasium:HalfCheetahBulletEnv-v0",
        1_000_000,
        {"ddpg": Published(2078, 208, RL_ZOO), "td3": Published(2822, 20, RL_ZOO)},
        _long(25_000),
        BULLET_LEARNER,
        atoms=(-200.0, 400.0),
        needs=BULLET,
    ),
    "HopperBullet": Task(
        "pybullet_envs_gymnasium:HopperBulletEnv-v0",
        1_000_000,
        {"ddpg": Published(1157, 449, RL_ZOO), "td3": Published(2682, 28, RL_ZOO)},
        _long(25_000),
        BULLET_LEARNER,
        atoms=(-100.0, 400.0),
        needs=BULLET,
    ),
    "cartpole-swingup": Task(
        "shimmy:dm_control/cartpole-swingup-v0",
        250_000,
        {"ddpg": Published(800, None, ADI)},
        _long(10_000, 1000),
        SUITE_LEARNER,
        needs=SUITE,
    ),
    "reacher-hard": Task(
        "shimmy:dm_control/reacher-hard-v0",
        450_000,
        {"ddpg": Published(950, None, ADI)},
        _long(10_000, 1000),
        SUITE_LEARNER,
        needs=SUITE,
    ),
}


@dataclass(frozen=True)
class Config:
    """Run algorithm × task × seeds, then show our scores beside published ones."""

    tasks: tuple[str, ...] = ("Pendulum-v1",)  # names out of --list
    algos: tuple[str, ...] = tuple(ALGORITHMS)
    seeds: int = 5  # 0, 1, …
    precision: Precision = "float32"  # of matrix products; bfloat16 is faster where the processor has it
    json: bool = False  # print one JSON object as the last line
    list: bool = False  # only list the tasks
    show: bool = False  # only show what has been finished


def run(task: str, algo: str, seed: int, precision: Precision, console: Console) -> None:
    """Train one run to its end, from where it was; nothing if it is finished."""
    name = f"{task}-{algo}-{seed}"
    kept, out = RESULTS / name, RUNS / name
    if kept.exists():
        return
    console.print(f"[bold]{name}[/]")
    resume = bool(snapshots(out / "checkpoints"))
    train_sync(replace(settings(TASKS[task], algo), seed=seed, precision=precision, out=out, resume=resume), console)
    part = kept.with_suffix(".part")
    part.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "evaluations.csv"):
        shutil.copyfile(out / file, part / file)
    part.rename(kept)


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


def scores(task: str, algo: str) -> np.ndarray:
    """Mean return and its spread over episodes in the last evaluation of each finished run, (seeds, 2)."""
    finals = [read_evaluations(path)[-1] for path in sorted(RESULTS.glob(f"{task}-{algo}-*/evaluations.csv"))]
    return np.array([(final.mean, final.std) for final in finals]).reshape(-1, 2)


def show(config: Config, console: Console) -> dict[str, Any]:
    """Print our scores beside the published ones; return them."""
    table = Table("task", "steps", "algorithm", "seeds", "ours", "± seeds", "± episodes", "published", "", "source")
    found: dict[str, Any] = {}
    for task in config.tasks:
        for algo in config.algos:
            ours = scores(task, algo)
            theirs = TASKS[task].published.get(algo)
            row = summarise(ours, theirs)
            found[f"{task}/{algo}"] = row
            cells = [f"{row[key]:.1f}" if row[key] is not None else "–" for key in ("mean", "seed_std", "episode_std")]
            said = (str(theirs), row["verdict"], theirs.source) if theirs else ("–", "", "")
            table.add_row(task, f"{TASKS[task].steps:,}", algo, str(len(ours)), *cells, *said)
    console.print(table)
    return found


def summarise(ours: np.ndarray, theirs: Published | None) -> dict[str, Any]:
    """Our scores (seeds, 2) in figures, and how they compare."""
    if not len(ours):
        return {"seeds": 0, "mean": None, "seed_std": None, "episode_std": None, "verdict": "not run"}
    mean = float(ours[:, 0].mean())
    return {
        "seeds": len(ours),
        "mean": mean,
        "seed_std": float(ours[:, 0].std(ddof=1)) if len(ours) > 1 else None,
        "episode_std": float(np.sqrt((ours[:, 1] ** 2).mean())),
        "verdict": theirs.verdict(mean) if theirs else "nothing published",
    }


def list_tasks(console: Console) -> None:
    """Print every task with its environment, steps and what must be installed for it."""
    table = Table("task", "environment", "steps", "needs")
    for name, task in TASKS.items():
        table.add_row(name, task.env, f"{task.steps:,}", escape(task.needs))
    console.print(table)


def main(config: Config) -> None:
    """Run what is not finished, then show everything."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    unknown = [*(set(config.tasks) - set(TASKS)), *(set(config.algos) - set(ALGORITHMS))]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; expected tasks out of --list and {', '.join(ALGORITHMS)}")
    if config.list:
        list_tasks(console)
        return
    if not config.show:
        os.nice(19)
        for seed in range(config.seeds):
            for task in config.tasks:
                for algo in config.algos:
                    run(task, algo, seed, config.precision, console)
    found = show(config, console)
    if config.json:
        print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit(130)
