"""`lapwing drive`: drive a vehicle by a policy, with all that is seen and done kept in a folder."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from deploy.client import PolicyClient
from deploy.clock import no_collections
from deploy.dashboard.messages import Scene, lane_of
from deploy.dashboard.process import wanted
from deploy.dashboard.rebuild import Eyes
from deploy.dashboard.seat import DashboardSeat
from deploy.driving.controls import Controls, Mode, Seat
from deploy.driving.display import Display
from deploy.driving.local_policy import LocalPolicy
from deploy.driving.loop import ControlLoop, Policy, Tick
from deploy.driving.safety import Limits
from deploy.keys import ClientKeys
from deploy.log.entries import DriveFacts, DriveSummary, summarize, write_summary
from deploy.log.reader import read_log
from deploy.log.video import Video
from deploy.log.writer import DriveLog
from deploy.metrics import LoopMetrics, exposed
from deploy.policy_spec import PolicySpec
from deploy.realtime import pinned, realtime, sockets_too
from deploy.seats.gamepad import Gamepad
from deploy.seats.keyboard import Keyboard
from deploy.signals import interruptible
from deploy.vehicles import LONGEST_COMMAND_S, CarConfig, Frame, Movable, Vehicle, VehicleSpec, open_vehicle
from deploy.wire import PolicyInfo

STANDING = ("standby", "e_stop")  # states in which the car is at rest, or a person has seen to it
Observer = Callable[[Tick], None]  # is told every tick, within its period
Watcher = Callable[[Frame, NDArray[np.float32]], None]  # is told every frame, and what the motors were sent for it
Watch = Callable[[VehicleSpec, float], AbstractContextManager[Watcher]]  # of such a vehicle, every so many seconds


@dataclass(frozen=True)
class DriveConfig:
    server: str = "tcp://127.0.0.1:5590"  # address of the policy server, see `lapwing serve`
    keys: Path | None = None  # folder of this client's keys and the server's, see `lapwing keys`
    pin: bool = False  # stop when the server goes over to another policy under way
    policy: Path | None = None  # ONNX file to drive by in this very process, instead of asking a server
    vehicle: str = "simulated"  # which vehicle to drive
    car: CarConfig = field(default_factory=CarConfig)
    out: Path = Path("runs/demo/drive")  # folder for drive.mcap, drive.json and drive.mp4
    road_seed: int = 0  # which procedural road the simulated car drives on
    length_m: float = 250.0  # m, length of that road; Kendall 2018
    deadline_s: float = 0.05  # s from camera frame to action; half a period, the rest is for log and video
    watchdog_s: float = 0.15  # s without a valid action until the car is stopped; 1.5 periods at 10 Hz
    max_speed: float = 1.0  # speed set-point that is never exceeded; 1 is the vehicle's top speed, -1 standing
    mode: Mode = "local"  # who drives: the policy (local), a person (user), or the person only sets the speed
    gamepad: Path | None = None  # to drive and stop by, beside the keyboard; such as /dev/input/js0
    wait: bool = False  # stand until a person starts the car, instead of driving at once
    realtime: bool = True  # run before all other programs with memory locked, where that is permitted
    hello_s: float = 10.0  # s to wait for the policy server at the start
    time_limit_s: float = 300.0  # s until the drive is given up; 250 m at 10 km/h take 90 s
    metrics_port: int | None = None  # tell Prometheus how it goes, at http://127.0.0.1:PORT/metrics
    video: bool = True  # film the drive
    record: Path | None = None  # folder of a dataset to add the drive to: frames, states and executed actions
    dashboard: int | None = None  # port on loopback of the live dashboard, see docs/dashboard.md; none if not given
    eyes: Path | None = None  # what `lapwing export --eyes` wrote, for it; None = eyes.onnx beside --policy, if there


class DriveError(ValueError):
    """A setting with which no car may be driven."""

    exit_code = 2


def drive(config: DriveConfig, watch: Watch | None = None, controls: Controls | None = None) -> DriveSummary:
    """Drive until the route is finished or left, the time is up, or Ctrl-C; write log, video and figures.

    `watch` makes who is told every frame and what was sent; the command line hands in who records to `config.record`.
    `controls`: where people say what they want, if others than this function know them.
    Raises DriveError for settings that leave the car without a limit, or with nobody to start it; ServerError if no
    policy is served, PolicyError if it does not fit the vehicle; VehicleError, AddressError,
    KeysError, MetricsError and DashboardError for what the config asks for in vain. The drive was good only if the
    summary has `succeeded`.
    """
    display = Display(
        f"policy {config.policy}" if config.policy else f"policy server at {config.server}", config.watchdog_s
    )
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        dashboard = _dashboard(config, stack)
        loop, info = _made_ready(config, controls or Controls(config.mode), dashboard, display, stack)
        if dashboard:
            dashboard.begin(_scene(config, info, loop.car))
        observers = list(_observers(config, loop, watch, dashboard, display, stack))
        stack.enter_context(display)
        stack.enter_context(no_collections())
        _drive(config, loop, info, display, observers)
    summary = summarize(read_log(config.out / "drive.mcap"))
    write_summary(config.out, summary)
    display.conclude(summary, str(config.out))
    return summary


def _made_ready(
    config: DriveConfig, controls: Controls, dashboard: DashboardSeat | None, display: Display, stack: ExitStack
) -> tuple[ControlLoop, PolicyInfo]:
    """The loop with all that it drives with, and who gives the actions; the stack closes them."""
    context = stack.enter_context(zmq.Context())
    denied = stack.enter_context(realtime()) if config.realtime else []
    sockets_too(context)
    policy = stack.enter_context(closing(_policy(config, context, display)))
    info = policy.hello(config.hello_s)
    car = open_vehicle(config.vehicle, config.road_seed, config.length_m, config=config.car)
    stack.enter_context(closing(car))
    info.spec.check(car.spec)
    limits = _limits(config, info.spec)
    _warm(car)
    seats = [stack.enter_context(closing(seat)) for seat in _seats(config, dashboard)]
    if config.wait and not seats:
        raise DriveError("--wait is for a person to start the car; expected a terminal, --gamepad or --dashboard")
    for what in [f"without {what}" for what in denied] + [seat.hint for seat in seats]:
        display.say(what)
    if not seats and not isinstance(car, Movable):
        display.say("WARNING: nobody can stop the car from here: no terminal, no --gamepad, no --dashboard")
    loop = ControlLoop(car, policy, info.spec, limits, controls, seats, config.deadline_s, armed=not config.wait)
    return stack.enter_context(closing(loop)), info


def _dashboard(config: DriveConfig, stack: ExitStack) -> DashboardSeat | None:
    """The page, whose process starts before this one has any priority that it could inherit."""
    link = stack.enter_context(wanted(config.dashboard))
    return link and DashboardSeat(link)


def _scene(config: DriveConfig, info: PolicyInfo, car: Vehicle) -> Scene:
    """What the page is told at the beginning. Raises PolicyError for eyes that cannot be used."""
    beside = config.policy and config.policy.with_name("eyes.onnx")
    eyes = config.eyes or (beside if beside and beside.exists() else None)
    if eyes:
        Eyes(eyes)
    return Scene(
        kind="drive",
        title=f"{config.vehicle} car, policy {info.policy_id} of run {info.spec.run}",
        hands=True,
        top_speed_mps=info.spec.top_speed_mps,
        lane=lane_of(car),
        eyes=eyes and str(eyes.absolute()),
    )


def _policy(config: DriveConfig, context: zmq.Context, display: Display) -> Policy:
    if config.policy:
        return LocalPolicy.load(config.policy, display.say)
    keys = ClientKeys.load(config.keys) if config.keys else None
    return PolicyClient(context, config.server, keys, config.pin)


def _seats(config: DriveConfig, dashboard: DashboardSeat | None) -> Iterator[Seat]:
    """Where people can say what they want of the car."""
    if dashboard:
        yield dashboard
    if sys.stdin.isatty():
        yield Keyboard()
    if config.gamepad:
        yield Gamepad(config.gamepad)


def _limits(config: DriveConfig, spec: PolicySpec) -> Limits:
    """Raises DriveError for what would leave the car without one."""
    for option, value, least, most in (
        ("--watchdog-s", config.watchdog_s, 0.0, LONGEST_COMMAND_S),
        ("--deadline-s", config.deadline_s, 0.0, spec.period_s),
        ("--max-speed", config.max_speed, -1.0, 1.0),
    ):
        if not least <= value <= most:
            raise DriveError(f"{option} is {value:g}; expected {least:g} to {most:g}")
    return Limits(spec.max_steering_rad, spec.max_steering_rate_radps, config.watchdog_s, config.max_speed)


def _observers(
    config: DriveConfig,
    loop: ControlLoop,
    watch: Watch | None,
    dashboard: DashboardSeat | None,
    display: Display,
    stack: ExitStack,
) -> Iterator[Observer]:
    """Who is told of every tick beside the log, as far as they are wanted; the stack closes them."""
    yield lambda now: display.show(now.entry)
    if dashboard:
        yield dashboard.show
    if config.metrics_port is not None:
        metrics = LoopMetrics()
        display.say(f"metrics at {stack.enter_context(exposed(metrics.registry, config.metrics_port))}")
        yield lambda now: metrics.saw(now.entry)
    if watch:
        watcher = stack.enter_context(watch(loop.car.spec, loop.spec.period_s))
        yield lambda now: watcher(now.frame, np.array(now.entry.sent, np.float32))
    if config.video:
        film = stack.enter_context(closing(Video(config.out / "drive.mp4", loop.spec.period_s)))
        yield lambda now: film.add(now.entry.tick, loop.car.picture())


def _drive(
    config: DriveConfig, loop: ControlLoop, info: PolicyInfo, display: Display, observers: list[Observer]
) -> None:
    """Drive to the end, with a log that is complete also after Ctrl-C."""
    loop.clock.start()
    with DriveLog(config.out, _facts(config, loop, info)) as log, pinned(), suppress(KeyboardInterrupt):
        display.say(f"driving the {config.vehicle} car by policy {info.policy_id} of run {info.spec.run}")
        for now in _ticks(loop, log, config.time_limit_s):
            log.write(now.entry, now.frame.image)
            for observer in observers:
                observer(now)


def _warm(car: Vehicle) -> None:
    """The first image and picture take longer than a tick."""
    car.read()
    car.picture()


def _facts(config: DriveConfig, loop: ControlLoop, info: PolicyInfo) -> DriveFacts:
    return DriveFacts(
        lapwing=version("lapwing"),
        config=msgspec.to_builtins(config, enc_hook=str),  # paths
        spec=info.spec,
        policy_id=info.policy_id,
        limits=loop.limits,
        start=loop.memory,
        started_at_ns=time.time_ns() - round((loop.clock.now() - loop.clock.started_at_s) * 1e9),
    )


def _ticks(loop: ControlLoop, log: DriveLog, time_limit_s: float) -> Iterator[Tick]:
    """The drive, one control period at a time."""
    while True:
        now = loop.tick(lambda: log.trouble)
        yield now
        truth = now.entry.truth
        if (truth and (truth.finished or truth.disengagement)) or now.entry.t_s >= time_limit_s:
            return
        if log.lost and now.entry.safety in STANDING:  # nobody can start it again
            return
