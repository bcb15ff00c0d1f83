"""What becomes of a driving car when something fails: each fault, on real processes, and how long until it must stop.

    python -m benchmarks.faults --write     # run all, and write the table in docs/safety.md
    python -m benchmarks.faults --only "server kill -9" --json

The car is the simulated one, in real time; control loop and policy server are processes of their own. `stop` is the
time from the fault until the car was commanded to stand, or its last command ran out and it braked by itself.
"""

import json
import os
import pty
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.network import THERE, Cable, missing, other_machine
from benchmarks.runs import markdown, write_page
from benchmarks.witness import ADDRESS, SOON_S, Ailment, Witness, wait_for
from deploy.driving.faults import PASSING, Kind
from deploy.keys import KeysConfig, write_keys
from deploy.log.reader import read_log
from tests.deploy.policies import SPEC, constant_policy
from tests.deploy.serving import flooding

PAGE = Path("docs/safety.md")
ROOT = Path(__file__).parents[1]
Process = subprocess.Popen[str]
UNDER_WAY_MPS = 1.0
FLOODED_CYCLES = 30  # in which a car is to drive on as if nothing was
STANDS_CYCLES = 8  # in which nothing is wrong any more, and the car waits for a person nevertheless


@dataclass(frozen=True)
class FaultsConfig:
    rounds: int = 3  # times that every fault happens
    only: str | None = None  # the name of one fault
    write: bool = False  # put the table into docs/safety.md
    json: bool = False  # print one JSON object at the end


@dataclass(frozen=True)
class Rate:
    """How fast the loop runs, and how long an action is good for."""

    period_s: float
    watchdog_s: float
    deadline_s: float


SLOW = Rate(period_s=0.1, watchdog_s=0.15, deadline_s=0.05)
FAST = Rate(period_s=0.01, watchdog_s=0.03, deadline_s=0.008)


@dataclass
class Drive:
    """A car under way, and all that can be done to it."""

    witness: Witness
    loop: Process
    server: Process
    keys: int  # the terminal of whoever drives
    log: Path
    said: IO[str]  # by the loop
    address: str  # of the server
    cable: Cable | None  # to it; None if it is on the same machine
    serve: Callable[[], Process]  # start the server anew


@dataclass(frozen=True)
class Fault:
    """Something that fails, and what is expected of the car afterwards."""

    happen: Callable[[Drive], float | None]  # gives the moment (monotonic) if that is later than the call
    known_as: Kind | None = None  # to the loop; None if it is none, or happened to the loop
    mend: Callable[[Drive], None] | None = None  # None if nothing is left to drive on
    rate: Rate = SLOW
    networked: bool = False  # the server is on another machine
    harmless: bool = False  # the car is to drive on all the while

    @property
    def resumes(self) -> bool:
        """Whether the car drives on by itself once it is mended, instead of waiting for a person."""
        return self.known_as in PASSING


@dataclass
class Outcome:
    """What became of the car, each time."""

    stop_ms: list[float] = field(default_factory=list)
    rest_ms: list[float] = field(default_factory=list)
    back_ms: list[float] = field(default_factory=list)  # from the mending, or a person's start, until the car moves
    fault: Kind | None = None  # in the loop's own word


def kill(drive: Drive) -> None:
    drive.server.kill()


def freeze(drive: Drive) -> None:
    drive.server.send_signal(signal.SIGSTOP)


def thaw(drive: Drive) -> None:
    drive.server.send_signal(signal.SIGCONT)


def restart(drive: Drive) -> None:
    drive.server = drive.serve()


def misbehave(how: str) -> Callable[[Drive], None]:
    def happen(drive: Drive) -> None:
        assert drive.server.stdin
        drive.server.stdin.write(how + "\n")
        drive.server.stdin.flush()

    return happen


def ail(how: Ailment | None) -> Callable[[Drive], None]:
    def happen(drive: Drive) -> None:
        drive.witness.ailment = how

    return happen


def press(key: bytes) -> Callable[[Drive], None]:
    def happen(drive: Drive) -> None:
        os.write(drive.keys, key)

    return happen


def flood(drive: Drive) -> None:
    """Have another client flood the server while the car drives on."""
    with flooding(drive.address):
        told = len(drive.witness.commands)
        wait_for(lambda: len(drive.witness.commands) >= told + FLOODED_CYCLES)


def cut(drive: Drive) -> None:
    assert drive.cable
    drive.cable.cut()


def plug_in(drive: Drive) -> None:
    assert drive.cable
    drive.cable.mend()


def fill_disk(drive: Drive) -> float:
    """No file of the loop's may grow any more, which is a full disk but for the error's name; when that is felt."""
    told = len(drive.witness.commands)
    size = (drive.log / "drive.mcap.part").stat().st_size
    resource.prlimit(drive.loop.pid, resource.RLIMIT_FSIZE, (size, size))
    wait_for(lambda: len(drive.witness.commands) > told)
    return drive.witness.commands[told][0]  # of the first tick that cannot be written


behave, recover = misbehave(""), ail(None)
FAULTS: dict[str, Fault] = {
    "server kill -9": Fault(kill, "silent", restart),
    "server kill -9, 30 ms age limit": Fault(kill, "silent", restart, FAST),
    "server SIGSTOP": Fault(freeze, "silent", thaw),
    "server SIGSTOP, 30 ms age limit": Fault(freeze, "silent", thaw, FAST),
    "server slow (200 ms)": Fault(misbehave("slow"), "silent", behave),
    "server answers NaN": Fault(misbehave("nan"), "invalid", behave),
    "server answers NaN, 30 ms age limit": Fault(misbehave("nan"), "invalid", behave, FAST),
    "server answers out of range": Fault(misbehave("out of range"), "invalid", behave),
    "server answers the frame before": Fault(misbehave("stale"), "stale", behave),
    "server has another model": Fault(misbehave("wrong model"), "foreign", behave),
    "server is of another session": Fault(misbehave("wrong session"), "stale", behave),
    "server speaks another version": Fault(misbehave("wrong version"), "malformed", behave),
    "another client floods the server": Fault(flood, harmless=True),
    "network cut": Fault(cut, "silent", plug_in, networked=True),
    "network cut, 30 ms age limit": Fault(cut, "silent", plug_in, FAST, networked=True),
    "camera frozen": Fault(ail("frozen"), "camera", recover),
    "camera black": Fault(ail("black"), "camera", recover),
    "camera of the wrong size": Fault(ail("wrong size"), "camera", recover),
    "disk full": Fault(fill_disk, "log"),
    "loop kill -9": Fault(lambda drive: drive.loop.kill()),
    "loop SIGSTOP": Fault(lambda drive: drive.loop.send_signal(signal.SIGSTOP)),
    "E-stop (space)": Fault(press(b" "), mend=press(b"r")),
    "person asks to stop (x)": Fault(press(b"x"), mend=lambda drive: None),
}


@contextmanager
def under_way(rate: Rate, networked: bool = False) -> Iterator[Drive]:
    """A car that drives, with everything around it; nothing of it is left afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lapwing-")))
        cable = stack.enter_context(other_machine()) if networked else None
        address = f"tcp://{THERE}:5590" if networked else f"ipc://{folder}/server"
        witness = stack.enter_context(Witness(folder))
        serve = _server(stack, folder, rate, address, cable)
        server = serve()
        ours, theirs = pty.openpty()
        stack.callback(os.close, ours)
        config = {
            "server": address,
            "out": str(folder / "drive"),
            "watchdog_s": rate.watchdog_s,
            "deadline_s": rate.deadline_s,
        } | ({"keys": str(folder / "keys/clients/car")} if networked else {})
        command = [sys.executable, "-m", "benchmarks.witness", json.dumps(config)]
        said = stack.enter_context((folder / "said").open("w+"))
        loop = _started(stack, command, theirs, said, {ADDRESS: witness.address})
        os.close(theirs)
        drive = Drive(witness, loop, server, ours, folder / "drive", said, address, cable, serve)
        wait_for(lambda: witness.speed_mps > UNDER_WAY_MPS)
        yield drive


def _server(stack: ExitStack, folder: Path, rate: Rate, address: str, cable: Cable | None) -> Callable[[], Process]:
    """Starts the server, over and over if it must be; on another machine it has keys."""
    spec = msgspec.structs.replace(SPEC, period_s=rate.period_s)
    policy = constant_policy(folder / "policy.onnx", steering=0.0, speed=0.0, spec=spec)
    command = [sys.executable, "-m", "benchmarks.rogue", str(policy), address]
    if cable:
        write_keys(KeysConfig(folder / "keys", ("car",)), Console(quiet=True))
        command = [*cable.there, *command, str(folder / "keys/server")]
    return lambda: _started(stack, command, subprocess.PIPE)


def _started(
    stack: ExitStack,
    command: list[str],
    stdin: int,
    stdout: IO[str] | int = subprocess.DEVNULL,
    variables: dict[str, str] | None = None,
) -> Process:
    env = os.environ | (variables or {})
    process = subprocess.Popen(command, cwd=ROOT, stdin=stdin, stdout=stdout, text=True, env=env)
    stack.enter_context(process)  # which closes its pipe and waits for it
    stack.callback(process.kill)
    return process


def happen(fault: Fault, outcome: Outcome) -> None:
    """Have a car under way meet the fault once, and note what it did."""
    with under_way(fault.rate, fault.networked) as drive:
        began_s = time.monotonic()
        at_s = fault.happen(drive) or began_s
        if fault.harmless:
            stop_s = drive.witness.stop_after_s(at_s)
            outcome.stop_ms += [stop_s * 1e3] if stop_s is not None else []
            outcome.fault = _said(drive, fault)
            return
        wait_for(lambda: drive.witness.rest_after_s(at_s) is not None)
        stop_s, rest_s = drive.witness.stop_after_s(at_s), drive.witness.rest_after_s(at_s)
        assert stop_s is not None
        assert rest_s is not None
        outcome.stop_ms.append(stop_s * 1e3)
        outcome.rest_ms.append(rest_s * 1e3)
        if fault.mend:
            outcome.back_ms.append(_drive_on(fault, drive) * 1e3)
        outcome.fault = _said(drive, fault)


def _drive_on(fault: Fault, drive: Drive) -> float:
    """Mend the fault; the time until the car moves again, if need be once a person has started it."""
    assert fault.mend
    fault.mend(drive)
    if not fault.resumes:
        assert drive.witness.stays_put(STANDS_CYCLES)
        press(b"s")(drive)
    began_at_s = time.monotonic()
    wait_for(lambda: drive.witness.speed_mps > 0.2)
    return time.monotonic() - began_at_s


def _said(drive: Drive, fault: Fault) -> Kind | None:
    """By which word the loop knows what happened; None if it was the loop that it happened to."""
    if fault.known_as == "log":  # then there is none in which to look, and nothing to drive for
        drive.loop.wait(SOON_S)
    if drive.loop.poll() is not None:
        drive.said.seek(0)
        return "log" if "log: not written any more" in drive.said.read() else None
    drive.loop.send_signal(signal.SIGCONT)
    drive.loop.send_signal(signal.SIGINT)
    drive.loop.wait(SOON_S)
    entries = read_log(drive.log / "drive.mcap")
    return next((e.fault.kind for e in entries if e.fault and e.speed_mps > UNDER_WAY_MPS), None)


def table(outcomes: dict[str, Outcome]) -> Table:
    """All of it; times are medians, in brackets the worst."""
    shown = Table("fault", "loop", "known as", "stop, ms", "at rest, s", "drives on", "after, s")
    for name, outcome in outcomes.items():
        fault = FAULTS[name]
        stop = f"{statistics.median(outcome.stop_ms):.0f} ({max(outcome.stop_ms):.0f})" if outcome.stop_ms else "none"
        rest = f"{statistics.median(outcome.rest_ms) / 1e3:.2f}" if outcome.rest_ms else ""
        on = "by itself" if fault.resumes else "when a person starts it" if fault.mend else "never"
        back = f"{statistics.median(outcome.back_ms) / 1e3:.2f}" if outcome.back_ms else ""
        on = "all the while" if fault.harmless else on
        shown.add_row(name, f"{1 / fault.rate.period_s:.0f} Hz", outcome.fault or "", stop, rest, on, back)
    return shown


def main(config: FaultsConfig) -> None:
    console = Console()
    names = [config.only] if config.only else list(FAULTS)
    if lacking := missing():
        names = [name for name in names if not FAULTS[name].networked]
        console.print(f"without the network's faults: {lacking} is missing")
    outcomes = {name: Outcome() for name in names}
    for turn in range(config.rounds):
        for name in names:
            happen(FAULTS[name], outcomes[name])
            stop = f"stop after {outcomes[name].stop_ms[-1]:.0f} ms" if outcomes[name].stop_ms else "no stop"
            console.print(f"{turn + 1}/{config.rounds} {name}: {stop}")
    shown = table(outcomes)
    console.print(shown)
    if config.write:
        write_page(PAGE, "benchmarks.faults", markdown(shown))
    if config.json:
        print(json.dumps({name: vars(outcome) for name, outcome in outcomes.items()}))  # noqa: T201


if __name__ == "__main__":
    main(tyro.cli(FaultsConfig))
