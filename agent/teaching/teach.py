"""`lapwing teach`: a car learns to drive its route, an episode at a time, while a safety driver watches.

This process is the car's control loop, in real time; the learner is its child (`lessons.py`).
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

import torch
import zmq
from rich.console import Console

from agent.checkpoint import PolicyFacts, make_actor
from agent.export.export import ExportConfig, export
from agent.latent import HISTORY
from agent.line.channel import ActorEnd, local_addresses
from agent.line.experience import usable
from agent.settings import CONFIG, as_json, checked
from agent.snapshot import CHECKPOINTS, insist_on_same, load_newest
from agent.teaching.config import TeachConfig, fitted
from agent.teaching.lessons import POLICY, learn
from agent.teaching.pupil import Pupil
from agent.teaching.session import Session, Taught
from agent.training.jobs import Failed
from agent.training.supervisor import Job, Supervisor
from deploy.clock import RateKeeper, Stalls, Time
from deploy.dashboard.lesson import Lesson
from deploy.dashboard.link import Link
from deploy.dashboard.messages import Scene, lane_of
from deploy.dashboard.process import wanted
from deploy.driving.safety import Limits
from deploy.observation import StateVector
from deploy.safety_drivers import open_driver
from deploy.signals import interruptible
from deploy.vehicles import open_vehicle
from perception.encoders import load_encoder
from perception.encoders.convolutions import Autoencoder
from perception.files import alone_in, write_whole

FREE = {"resume", "safety", "speed", "dashboard"}  # settings that a run which goes on may change
STALL_PERIODS = 10  # without an image: 1 s at 10 Hz. A few missed ones are usual, then the car has merely slowed down
SILENCE_S = 60.0  # of the learner until it counts as frozen; saving may take some
SAVING_S = 30.0  # that the learner may take for its last checkpoint


class TeachError(RuntimeError):
    """The learner cannot learn, or cannot go on."""

    exit_code = 2


def teach(config: TeachConfig, console: Console) -> Taught:
    """Teach until the safety driver says done; then export the best policy to policy.onnx in the run's folder.

    Also writes config.json, vae.safetensors, episodes.csv, actor.safetensors and checkpoints/ there. Ctrl-C stops the
    car, saves and raises KeyboardInterrupt. Raises VehicleError, SafetyDriverError and DashboardError for what the
    config asks for in vain, SettingsError, EncoderError, DatasetError, SnapshotError where there is nothing to resume,
    FolderInUseError; TeachError where the learner cannot go on, with the car stopped.
    """
    checked(config)
    torch.set_num_threads(1)
    encoder = load_encoder(config.encoder)
    with (
        interruptible(),
        wanted(config.dashboard) as link,
        closing(open_vehicle(config.vehicle, config.road_seed, config.length_m, config.speed)) as car,
        closing(open_driver(car, config.safety, link)) as driver,
    ):
        config, facts = fitted(config, car.spec, encoder.config)
        usable(config.episodes, encoder.config)  # so that the learner need not find out
        with _claimed(config, console), _taught_by_learner(config, facts, console) as (line, learner):
            pupil = _pupil(config, facts, encoder, line)
            limits = Limits(facts.max_steering_rad, facts.max_steering_rate_radps, config.watchdog_s, recovery_cycles=1)
            time = Time(config.speed)
            clock = RateKeeper(config.period_s, time.now, time.sleep)
            stalls = Stalls(STALL_PERIODS * config.period_s / min(config.speed, 1.0), config.speed)
            session = Session(car, driver, pupil, limits, clock, stalls, console.print)
            if link:
                _show(config, facts, link, session)
            session.run(lambda: _look_after(learner))
        taught = session.taught
        console.print(f"{taught.trained} episodes trained, {taught.undone} of them undone, {taught.tested} tested")
        console.print(f"{taught.cycles} control cycles, {taught.missed} missed")
        _export_best(config, taught, console)
    return taught


def _show(config: TeachConfig, facts: PolicyFacts, link: Link, session: Session) -> None:
    """Have the page show the session."""
    buttons = config.safety.driver == "dashboard"
    title = f"teaching the {config.vehicle} car by {config.algo}"
    scene = Scene(
        kind="teach",
        title=title,
        orders=buttons,
        top_speed_mps=facts.top_speed_mps,
        run=str(config.out),
        lane=lane_of(session.car),
    )
    link.tell(scene)
    session.show = Lesson(link).show
    if not buttons:  # else the safety driver's hint says so
        session.tell(f"dashboard at {link.url}")


def _pupil(config: TeachConfig, facts: PolicyFacts, encoder: Autoencoder, line: ActorEnd) -> Pupil:
    vector = StateVector(facts.top_speed_mps, facts.max_steering_rad, HISTORY)
    return Pupil(encoder, make_actor(facts), config.noise, config.seed, vector, config.period_s, line)


def _look_after(learner: Supervisor) -> None:
    """Start the learner anew when it is lost; never waits. Raises TeachError when it has ended by itself."""
    learner.watch()
    if all(worker.done for worker in learner.workers):
        reasons = [event.reason for event in learner.events() if isinstance(event, Failed)]
        raise TeachError(reasons[0] if reasons else "the learner was told to end; go on with --resume")


@contextmanager
def _claimed(config: TeachConfig, console: Console) -> Iterator[None]:
    """Have the run's folder for ourselves, with what it must have before anything is learned."""
    written = as_json(config)
    if config.resume:
        insist_on_same(config.out / CONFIG, written, FREE)
    with alone_in(config.out):
        with alone_in(config.out / CHECKPOINTS):  # where a learner may still save whose car is gone
            if config.resume:
                load_newest(config.out / CHECKPOINTS, console.print)  # or it raises SnapshotError
            else:
                shutil.rmtree(config.out / CHECKPOINTS, ignore_errors=True)  # of an earlier run
            write_whole(config.out / CONFIG, written)
            shutil.copyfile(config.encoder, config.out / "vae.safetensors")
        yield


@contextmanager
def _taught_by_learner(
    config: TeachConfig, facts: PolicyFacts, console: Console
) -> Iterator[tuple[ActorEnd, Supervisor]]:
    """The learner's process, started anew when it is lost, and the line to it; it saves in the end."""

    def tell(_: str) -> None:
        console.print("[yellow]the learner is lost and started anew; the car has its last policy[/]")

    with tempfile.TemporaryDirectory(prefix="lapwing-") as folder, zmq.Context() as context:
        addresses = local_addresses(folder)
        with (
            Supervisor([Job("the learner", learn, (config, facts, addresses), SILENCE_S)], tell) as learner,
            closing(ActorEnd(context, addresses)) as line,
        ):
            try:
                yield line, learner
            finally:
                (worker,) = learner.workers
                worker.process.terminate()
                worker.process.join(SAVING_S)


def _export_best(config: TeachConfig, taught: Taught, console: Console) -> None:
    """Write policy.onnx, whole, if a test has left a policy; who serves it takes it from there."""
    if not (config.out / POLICY).exists():
        console.print("no test has been driven, so there is no best policy to export")
        return
    export(ExportConfig(run=config.out, out=config.out / "policy.onnx"), console)
    taught.policy = config.out / "policy.onnx"
