"""Learning on any Gymnasium environment with Box actions: one process, a step and its updates by turns.

What a run does depends on its config alone. Every episode, evaluation and generator has a seed of its own, derived from
the run's, and checkpoints fall between two episodes; so a run that is broken off and resumed on a CPU does bit by bit
what it would have done. (After Ctrl-C, which adds a checkpoint, environments that remember earlier episodes are the
exception: see `agent/sync/run.py: Run`.)
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from agent.results.metrics import Evaluation, Metrics
from agent.settings import CONFIG, DivergedError, as_json, checked
from agent.snapshot import (
    CHECKPOINTS,
    SnapshotError,
    insist_on_same,
    load_newest,
    read_settings,
    save_snapshot,
    snapshots,
)
from agent.sync.config import SyncConfig, resolved
from agent.sync.run import Run
from agent.sync.tasks import make_task
from perception.files import alone_in, write_whole
from perception.memory import keep_freed

__all__ = ["Result", "SyncConfig", "train_sync"]

LOG_EVERY = 500  # steps between two points of the learner's curves
Show = Callable[[Evaluation | None], None]


@dataclass(frozen=True)
class Result:
    """What a run has come to."""

    out: Path
    steps: int
    episodes: int
    updates: int
    evaluations: tuple[Evaluation, ...]


def train_sync(config: SyncConfig, console: Console) -> Result:
    """Train for `config.steps`; write config.json and what Metrics and save_snapshot write into `config.out`.

    Raises SettingsError for settings out of their bounds, TaskError for an environment that cannot be learned,
    SnapshotError where the folder holds another run or, with `resume`, none, FolderInUseError where another process
    writes to it, DivergedError when what is learned is not finite any more. Ctrl-C goes on to the episode's end, saves
    and raises KeyboardInterrupt; a second one at once.
    """
    checked(config)
    torch.set_num_threads(1)
    keep_freed()
    torch.set_float32_matmul_precision("medium")  # oneDNN, whose float32 is faster than MKL's on AMD
    make = partial(make_task, config.env, config.episode_steps, config.time_aware)
    with closing(make()) as env:
        asked, config = config, resolved(_as_before(config), env)
    if config.d4pg != asked.d4pg:
        console.print(f"D4PG's atoms widened to {config.d4pg.v_min:.0f} … {config.d4pg.v_max:.0f}, for random returns")
    checkpoints = claim(config)
    with closing(Run(config, make, console.print)) as run, alone_in(config.folder):
        if config.resume:
            run.restore(load_newest(checkpoints, partial(console.print, style="yellow", markup=False)))
        write_whole(config.folder / CONFIG, as_json(config))
        with Metrics(config.folder, run.steps) as metrics, _bar(run, console) as show, _ctrl_c(console) as stop:
            _learn(run, metrics, show, stop)
    return Result(config.folder, run.steps, run.episodes, run.updates, tuple(metrics.evaluations))


def _learn(run: Run, metrics: Metrics, show: Show, stop: Event) -> None:
    """Act, step, store, learn; evaluate and save now and then."""
    config = run.config
    while run.steps < config.steps:
        action = run.act()
        episode = run.step(action)
        run.learn()
        if run.steps % LOG_EVERY == 0:
            metrics.scalars("learner", finite(run.scalars(), run.steps), run.steps)
            show(None)
        if run.steps % config.evaluate_every == 0 or run.steps == config.steps:
            finite(run.scalars(), run.steps)
            evaluation = run.evaluate()
            metrics.evaluation(evaluation, run.algorithm.policy)
            show(evaluation)
        if episode:
            metrics.episode(episode)
            if run.due_for_checkpoint() or stop.is_set():
                save_snapshot(config.folder / CHECKPOINTS, run.snapshot())
            if stop.is_set():
                raise KeyboardInterrupt


def claim(config: SyncConfig) -> Path:
    """The folder of checkpoints. Raises SnapshotError when it is another run's than the config's."""
    checkpoints = config.folder / CHECKPOINTS
    if not config.resume:
        if snapshots(checkpoints):
            raise SnapshotError(
                f"{config.folder}: holds a run already; --resume goes on with it, --out writes elsewhere"
            )
        if (config.folder / "last.safetensors").exists():
            raise SnapshotError(f"{config.folder}: holds a run already; --out writes elsewhere")
        return checkpoints
    free = {"steps", "out", "resume", "evaluate_every", "evaluation_episodes"}
    insist_on_same(config.folder / CONFIG, as_json(config), free)
    return checkpoints


def _as_before(config: SyncConfig) -> SyncConfig:
    """A run that goes on is compiled if it was before, unless the config says otherwise; raises as `claim` does."""
    if not config.resume or config.compiled is not None:
        return config
    return replace(config, compiled=read_settings(config.folder / CONFIG).get("compiled"))


def finite(scalars: dict[str, float | Tensor], step: int) -> dict[str, float | Tensor]:
    """The scalars themselves. Raises DivergedError for the first that is not finite."""
    for name, value in scalars.items():
        if not torch.as_tensor(value).isfinite().all():
            raise DivergedError(f"{name} is not finite at step {step}: learning has diverged; expected smaller steps")
    return scalars


@contextmanager
def _ctrl_c(console: Console) -> Iterator[Event]:
    """The event is set by the first Ctrl-C; the second ends the run as usual."""
    stop = Event()

    def note(*_: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        console.print("saves at the end of this episode, for --resume; Ctrl-C again ends at once, without it")

    before = signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(run: Run, console: Console) -> Iterator[Show]:
    """Shows a bar with rate, remaining time and the latest evaluation, of which each is also printed."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} steps/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[latest]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=run.config.steps, completed=run.steps, rate=0.0, latest="")

        def show(evaluation: Evaluation | None) -> None:
            if evaluation:
                latest = f"return {evaluation.mean:.1f} ± {evaluation.std:.1f}"
                progress.update(task, latest=latest)
                progress.console.print(f"step {evaluation.step:7d}  {latest}  {evaluation.seconds:.0f} s")
            progress.update(task, completed=run.steps, rate=run.steps / run.seconds)

        yield show
