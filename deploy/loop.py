"""The control loop: a frame drives, camera to policy server to motors, every control period in real time."""

from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import zmq

from deploy.client import PolicyClient
from deploy.clock import RateKeeper, no_collections
from deploy.display import Display
from deploy.drive_log import DriveLog, DriveSummary, Entry, read_log, summarize, write_summary
from deploy.observation import StateVector
from deploy.policy_spec import PolicySpec
from deploy.safety import Guard, Limits
from deploy.signals import interruptible
from deploy.vehicles import VEHICLES, Vehicle
from deploy.video import Video
from deploy.watched import Watch, Watched
from deploy.wire import PolicyInfo


@dataclass(frozen=True)
class DriveConfig:
    server: str = "tcp://127.0.0.1:5590"  # address of the policy server, see `lapwing serve`
    vehicle: str = "simulated"  # which vehicle to drive
    out: Path = Path("runs/demo/drive")  # folder for drive.jsonl, drive.json and drive.mp4
    road_seed: int = 0  # which procedural road the simulated car drives on
    length_m: float = 250.0  # m, length of that road; Kendall 2018
    deadline_s: float = 0.05  # s from camera frame to action; half a period, the rest is for log and video
    watchdog_s: float = 0.15  # s without a valid action until the car brakes to rest; 1.5 periods at 10 Hz
    hello_s: float = 10.0  # s to wait for the policy server at the start
    time_limit_s: float = 300.0  # s until the drive is given up; 250 m at 10 km/h take 90 s
    video: bool = True  # film the drive
    record: Path | None = None  # folder of a dataset to add the drive to: frames, states and executed actions


class VehicleError(Exception):
    """There is no such vehicle, or it cannot do what is asked for."""

    exit_code = 2


def drive(config: DriveConfig, watch: Watch | None = None) -> DriveSummary:
    """Drive until the route is finished or left, the time is up, or Ctrl-C; write log, video and figures.

    `watch` makes who is told every frame and what was sent; the command line hands in who records to `config.record`.
    Raises ServerError if no policy is served, PolicyError if it does not fit the vehicle, VehicleError and
    AddressError for what the config asks for in vain. The drive was good only if the summary has `succeeded`.
    """
    display = Display(config.server, config.watchdog_s)
    with interruptible(), zmq.Context() as context, PolicyClient(context, config.server) as client:
        info = client.hello(config.hello_s)
        with closing(open_vehicle(config.vehicle, config.road_seed, config.length_m)) as car:
            info.spec.check(car.spec)
            with watch(car.spec, info.spec.period_s) if watch else nullcontext() as watcher:
                _record(config, info, Watched(car, watcher) if watcher else car, client, display)
    summary = summarize(read_log(config.out / "drive.jsonl"))
    write_summary(config.out, summary)
    display.conclude(summary, str(config.out))
    return summary


def tick(
    car: Vehicle,
    client: PolicyClient,
    guard: Guard,
    vector: StateVector,
    clock: RateKeeper,
    deadline_s: float,
) -> Entry:
    """Drive one control period; return what was seen, asked for and really done."""
    lateness_s = clock.wait()
    frame = car.read()
    state = vector.assemble(frame.speed_mps, frame.steering_rad)
    asked_at_s = clock.now()
    answer = client.act(clock.tick, frame.image, state, frame.captured_at_s, frame.captured_at_s + deadline_s)
    now_s = clock.now()
    sent = car.send(guard(answer and answer.action, frame.captured_at_s, now_s))
    vector.executed(sent)
    return Entry(
        tick=clock.tick,
        t_s=frame.captured_at_s - clock.started_at_s,
        state=state.tolist(),
        speed_mps=frame.speed_mps,
        steering_rad=frame.steering_rad,
        action=answer and answer.action,
        sent=(float(sent[0]), float(sent[1])),
        round_trip_ms=answer and (now_s - asked_at_s) * 1e3,
        inference_ms=answer and answer.inference_s * 1e3,
        novelty=answer and answer.novelty,
        lateness_ms=lateness_s * 1e3,
        guard=guard.state,
        truth=frame.truth,
    )


def open_vehicle(name: str, road_seed: int, length_m: float, speed: float = 1.0) -> Vehicle:
    """The vehicle of that name; speed: times real time. Raises VehicleError where there is none, or no such speed."""
    if name not in VEHICLES:
        raise VehicleError(f"vehicle {name} is unknown; expected one of {', '.join(VEHICLES)}")
    vehicle = resolve_name(VEHICLES[name])
    if speed == 1:
        return vehicle(road_seed, length_m)
    if not hasattr(vehicle, "put_back"):  # it is a real one
        raise VehicleError(f"vehicle {name} drives in real time; speed is {speed:g}, expected 1")
    return vehicle(road_seed, length_m, speed)


def _record(config: DriveConfig, info: PolicyInfo, car: Vehicle, client: PolicyClient, display: Display) -> None:
    """Drive to the end, keeping a log and a video; both are complete also after Ctrl-C."""
    car.read()  # the first image and picture take longer than a tick
    car.picture()
    video = closing(Video(config.out / "drive.mp4", info.spec.period_s)) if config.video else nullcontext()
    with DriveLog(config.out) as log, video as film, display, no_collections(), suppress(KeyboardInterrupt):
        display.say(f"driving the {config.vehicle} car by policy {info.policy_id} of run {info.spec.run}")
        for entry in _ticks(config, info.spec, car, client):
            log.write(entry)
            display.show(entry, client.fault)
            if film:
                film.add(entry.tick, car.picture())


def _ticks(config: DriveConfig, spec: PolicySpec, car: Vehicle, client: PolicyClient) -> Iterator[Entry]:
    """The drive, one control period at a time."""
    clock = RateKeeper(spec.period_s)
    vector = StateVector(spec.top_speed_mps, spec.max_steering_rad, spec.history)
    limits = Limits(spec.max_steering_rad, spec.max_steering_rate_radps, config.watchdog_s)
    guard = Guard(limits, clock.now())
    while True:
        entry = tick(car, client, guard, vector, clock, config.deadline_s)
        yield entry
        over = entry.truth and (entry.truth.finished or entry.truth.disengagement)
        if over or entry.t_s >= config.time_limit_s:
            return
