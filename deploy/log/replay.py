"""`lapwing replay`: drive a logged drive once more, and say where it comes out otherwise.

What came in is taken from the log; the observation, the policy and the safety machine are those of today.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from deploy.driving.safety import step
from deploy.log.entries import DriveFacts, Entry, LogError
from deploy.log.reader import LoggedTick, read_facts, read_log, read_ticks
from deploy.observation import StateVector
from deploy.policy import OnnxPolicy
from deploy.policy_spec import PolicyError


@dataclass(frozen=True)
class ReplayConfig:
    """Drive a logged drive once more; exits with 1 where it comes out otherwise than it was logged."""

    log: tyro.conf.Positional[Path] = Path("runs/demo/drive/drive.mcap")  # of the drive
    policy: Path | None = None  # ONNX file to ask; else the one that the drive had in its own process, if any
    tolerance: float = 0.0  # of the actions, in [-1, 1]; 0 holds for the same policy on the same kind of processor


@dataclass
class Tally:
    """How often a part of the drive was replayed, how often it came out otherwise, and where first."""

    part: str
    ticks: int = 0
    differing: int = 0
    first: str = ""

    def count(self, entry: Entry, logged: Any, replayed: Any, same: bool) -> None:
        self.ticks += 1
        self.differing += not same
        if not same and not self.first:
            self.first = f"tick {entry.tick}, {entry.t_s:.2f} s: {replayed}, logged {logged}"


@dataclass
class Replay:
    """What became of a drive the second time."""

    tolerance: float
    changes: int = 0  # of state, of the safety machine
    states: Tally = field(default_factory=lambda: Tally("safety state"))
    commands: Tally = field(default_factory=lambda: Tally("command"))
    observations: Tally = field(default_factory=lambda: Tally("observation"))
    actions: Tally = field(default_factory=lambda: Tally("action"))
    errors: list[list[float]] = field(default_factory=list)  # |replayed − logged| of steering and speed

    @property
    def tallies(self) -> tuple[Tally, ...]:
        return self.states, self.commands, self.observations, self.actions

    @property
    def same(self) -> bool:
        """Whether everything came out as it was logged."""
        return not any(tally.differing for tally in self.tallies)


def replay(config: ReplayConfig, console: Console) -> bool:
    """Replay a log and print what came of it; whether it was the same.

    Raises LogError for a log, and PolicyError for a policy, that cannot be read or do not fit each other.
    """
    facts = read_facts(config.log)
    policy = _policy(config, facts)
    outcome = rerun(read_ticks(config.log), facts, policy, config.tolerance, _whose(config.log, policy))
    if not (outcome.actions if policy else outcome.states).ticks:  # or it would pass whatever the code does
        raise LogError(f"drive log {config.log} has nothing to compare: no {'action' if policy else 'tick'}")
    console.print(_table(outcome))
    if policy:
        console.print(_actions(outcome))
    console.print(_verdict(outcome, facts, policy))
    return outcome.same


def rerun(
    ticks: Iterable[LoggedTick],
    facts: DriveFacts,
    policy: OnnxPolicy | None,
    tolerance: float,
    whose: str | None = None,
) -> Replay:
    """The whole drive again: observation and safety machine by what was logged, the policy by what it saw.

    whose: compare the answers of that policy alone; None: of all that drove.
    """
    outcome = Replay(tolerance)
    memory, spec = facts.start, facts.spec
    vector = StateVector(spec.top_speed_mps, spec.max_steering_rad, spec.history)
    for tick in ticks:
        entry = tick.entry
        state = vector.assemble(entry.speed_mps, entry.steering_rad).tolist()
        outcome.observations.count(entry, entry.state, state, _equal(state, entry.state))
        vector.executed(entry.sent)
        if policy and entry.action and whose in (None, entry.policy_id):
            _act(outcome, policy, tick, entry.action)
        before, memory = memory, step(memory, entry.inputs, facts.limits)
        outcome.changes += memory.state != before.state
        outcome.states.count(entry, entry.safety, memory.state, memory.state == entry.safety)
        outcome.commands.count(entry, entry.command, memory.command, memory.command == entry.command)
    return outcome


def _whose(log: Path, policy: OnnxPolicy | None) -> str | None:
    """Whose answers are compared: of a policy that drove, its own; all are, where one that did not drive is tried."""
    drove = {entry.policy_id for entry in read_log(log)} if policy else set()
    return policy.id if policy and policy.id in drove else None


def _act(outcome: Replay, policy: OnnxPolicy, tick: LoggedTick, logged: tuple[float, float]) -> None:
    """Ask the policy what the logged one was asked."""
    entry, image = tick.entry, tick.image
    if image is None:
        raise LogError(f"drive log has no camera image of tick {entry.tick}, which the policy answered")
    answer = policy.answer(image, np.array(entry.state, np.float32))
    action = np.clip(answer.action, -1, 1).tolist()  # as a server does: what rounding adds to a saturated tanh
    error = np.abs(np.subtract(action, logged))
    same = bool(np.all(error <= outcome.tolerance))  # not of NaN
    outcome.actions.count(entry, logged, tuple(action), same or _equal(action, logged))
    outcome.errors.append(error.tolist())


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def _policy(config: ReplayConfig, facts: DriveFacts) -> OnnxPolicy | None:
    """The policy to ask, if it fits the log."""
    path = config.policy or (Path(facts.config["policy"]) if facts.config.get("policy") else None)
    if path is None:
        return None
    policy = OnnxPolicy.load(path)
    logged = facts.spec
    policy.spec.check(logged.vehicle)
    if policy.spec.history != logged.history:
        raise PolicyError(
            f"policy {path} does not fit the log: its history is {policy.spec.history}, the log's is {logged.history}"
        )
    return policy


def _table(outcome: Replay) -> Table:
    table = Table("replayed", "ticks", "otherwise", "first")
    for tally in outcome.tallies:
        if tally.ticks:
            table.add_row(tally.part, f"{tally.ticks}", f"{tally.differing}", tally.first or "–")
    return table


def _actions(outcome: Replay) -> Table:
    """How far the replayed actions are from the logged ones."""
    table = Table("|difference| of", "mean", "p99", "max")
    for name, errors in zip(("steering", "speed"), np.reshape(outcome.errors, (-1, 2)).T, strict=True):
        figures = (errors.mean(), np.percentile(errors, 99), errors.max()) if errors.size else ()
        table.add_row(name, *(f"{figure:.3g}" for figure in figures))
    return table


def _verdict(outcome: Replay, facts: DriveFacts, policy: OnnxPolicy | None) -> str:
    asked = "no policy asked; name it by --policy"
    if policy:
        others = "" if policy.id == facts.policy_id else f" instead of {facts.policy_id}"
        asked = f"policy {policy.id}{others}, tolerance {outcome.tolerance:g}"
    same = "the same" if outcome.same else "not the same"
    return f"{same}: {outcome.states.ticks} ticks, {outcome.changes} changes of state; {asked}"
