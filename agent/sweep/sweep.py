"""`lapwing sweep`: train with every combination of settings and seeds, go on where that was broken off, compare.

OUT/sweep.json                    the config of each run by its name
    results.csv  SETTING.png      what they came to
    noise=ou,seed=0/              one run: what `lapwing train` writes
        train.log  ended.json     what it said, how it ended
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from agent.launchers import Launcher, load_launcher
from agent.launchers.attempt import LOG, Order
from agent.settings import Count, SettingsError, Whole, checked
from agent.sweep.results import failure, finished, plots, results, table, write_table
from agent.sweep.trials import Parse, Trial, claim, trials
from perception.files import alone_in

GRACE_S = 60.0  # for runs to end their episode and save after Ctrl-C
POLL_S = 0.1
Show = Callable[[int, int, int], None]  # of the runs that are left, at work and failed
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # after which no run may stay behind


@dataclass(frozen=True)
class SweepConfig:
    """Train with each seed and each combination of settings, a process and a folder for each."""

    out: Path = Path("runs/sweep")  # folder that holds the runs, a folder each, and what they came to
    seeds: tuple[Whole, ...] = (0,)  # each of them for every combination
    grid: tyro.conf.UseAppendAction[tuple[str, ...]] = ()  # SETTING=VALUE,VALUE,… of lapwing train; may be repeated
    jobs: Count = 1  # runs at once, one thread each; a Ray cluster at an address has as many as it has CPUs
    launcher: Literal["local", "ray"] = "local"  # processes of this machine, or tasks of Ray
    address: str | None = None  # of a Ray cluster, HOST:PORT or auto; None = Ray is started here


def sweep(config: SweepConfig, options: list[str], parse: Parse, console: Console) -> bool:
    """Finish all trials that are not finished; write results.csv and a picture per setting. True if none failed.

    `options` are those of `lapwing train` that all trials share, `parse` turns such into a config. A trial goes on from
    its newest checkpoint, or starts anew. Raises SweepError, SettingsError and FolderInUseError before anything is
    started. At Ctrl-C the trials save and end, at the next one they end at once; then raises KeyboardInterrupt.
    """
    checked(config)
    if config.address and config.launcher != "ray":
        raise SettingsError(f"address is {config.address} but launcher is {config.launcher}; expected --launcher ray")
    planned = trials(config.out, config.seeds, config.grid, options, parse)
    with alone_in(config.out):
        claim(config.out, planned)
        left = [trial for trial in planned if not finished(trial, config.out / trial.name)]
        console.print(f"{len(planned)} runs, {len(planned) - len(left)} of them finished before")
        if left:
            _insist_on_nobody(config.out, left)
            with load_launcher(config.launcher)(config.jobs, config.address) as launcher:
                _finish(config.out, planned, left, launcher, console)
        return _report(config.out, planned, console)


def _insist_on_nobody(out: Path, left: list[Trial]) -> None:
    """Raise FolderInUseError when a trial's process has outlived the sweep that started it."""
    for trial in left:
        with alone_in(out / trial.name):
            pass


def _finish(out: Path, planned: list[Trial], left: list[Trial], launcher: Launcher, console: Console) -> None:
    """Run what is left. Raises KeyboardInterrupt when that was broken off."""
    waiting, running, failed = list(left), dict[str, Trial](), 0
    with _signals() as received, _bar(console, len(planned), len(planned) - len(left)) as show:
        while waiting or running:
            while waiting and len(running) < launcher.at_once and not received:
                trial = waiting.pop(0)
                launcher.start(_order(out, trial))
                running[trial.name] = trial
            for name in launcher.ended():
                failed += not finished(running.pop(name), out / name)
            show(len(waiting) + len(running), len(running), failed)
            if received:
                _end(launcher, len(running), received, console)
                raise KeyboardInterrupt
            time.sleep(POLL_S)


def _order(out: Path, trial: Trial) -> Order:
    return Order(trial.name, out.absolute() / trial.name, trial.arguments, Path.cwd())


def _end(launcher: Launcher, running: int, received: list[int], console: Console) -> None:
    """Let all trials save and end; after a second signal, or when that takes too long, they end at once."""
    console.print(f"{running} runs save and end; Ctrl-C again ends them at once, without that")
    launcher.interrupt()
    until = time.monotonic() + GRACE_S
    while running and len(received) == 1 and time.monotonic() < until:
        time.sleep(POLL_S)
        running -= len(launcher.ended())
    launcher.kill()


def _report(out: Path, planned: list[Trial], console: Console) -> bool:
    """Write and print what the trials came to; True if none failed."""
    rows = results(out, planned)
    write_table(out / "results.csv", rows)
    console.print(table(rows))
    failed = [out / str(row["run"]) for row in rows if row["state"] == "failed"]
    for folder in failed:
        console.print(f"[red]failed:[/] {folder / LOG}: {failure(folder)}", soft_wrap=True)
    for file in (out / "results.csv", *plots(out, planned)):
        console.print(f"wrote {file}")
    return not failed


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The list of the signals that have come since; none of them does anything else.

    What is ignored stays so: SIGHUP under nohup, SIGINT in the background of a script.
    """
    received: list[int] = []
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Remaining(ProgressColumn):
    """Until the last run ends, if they go on as they did."""

    def render(self, task: Task) -> Text:
        """Hours, minutes and seconds; dashes until a run has ended."""
        ends_at = task.fields["ends_at"]
        seconds = max(0, round(ends_at - time.monotonic())) if ends_at else None
        return Text("-:--:--" if seconds is None else f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}")


@contextmanager
def _bar(console: Console, total: int, finished: int) -> Iterator[Show]:
    """Shows how many runs have ended, are at work and have failed."""
    counts = TextColumn("runs, {task.fields[running]} running, {task.fields[failed]} failed, remaining")
    began = time.monotonic()
    with Progress(BarColumn(), MofNCompleteColumn(), counts, _Remaining(), console=console) as progress:
        task = progress.add_task("", total=total, completed=finished, running=0, failed=0, ends_at=None)

        def show(left: int, running: int, failed: int) -> None:
            if total - left > progress.tasks[task].completed:
                seconds_each = (time.monotonic() - began) / (total - left - finished)
                progress.update(task, ends_at=time.monotonic() + seconds_each * left)
            progress.update(task, completed=total - left, running=running, failed=failed)

        yield show
