"""`lapwing train`: actors drive, a learner learns, each in its own process, until the policy drives the whole route."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import msgspec
import torch
from rich.console import Console

from agent.actors.orders import FACTS, GRAPH, Orders, make_env
from agent.checkpoint import PolicyFacts, make_actor
from agent.crews import Crew, load_crew
from agent.latent import HISTORY, LatentState
from agent.line.experience import usable
from agent.line.rendezvous import Rendezvous, rendezvous
from agent.settings import CONFIG, SettingsError, as_json, checked
from agent.snapshot import CHECKPOINTS, insist_on_same, load_newest
from agent.training.config import TrainConfig, insist_on_sense, resolved
from agent.training.course import Face, Progress
from agent.training.jobs import Doing, Failed, Heard, Said, in_turns, learn
from agent.training.supervisor import Job, Supervisor
from deploy.dashboard.messages import Scene
from deploy.dashboard.process import wanted
from perception.files import alone_in, write_whole
from perception.graph import encoder_graph
from perception.sight import LEARNED, ONLINE, load_sight

FREE = {"resume", "actors", "envs_per_actor", "max_episodes", "passes", "checkpoint_every"}  # to change on --resume
FREE |= {"launcher", "address", "listen", "keys", "dashboard"}
SAVING_S = 30.0  # that the learner may take for a last checkpoint after Ctrl-C


class TrainError(RuntimeError):
    """The learner cannot learn from what it was given."""

    exit_code = 2


def train(config: TrainConfig, console: Console) -> Progress:
    """Train until solved or out of episodes; Ctrl-C saves, unless it is by turns, and raises KeyboardInterrupt.

    Writes config.json, facts.json, vae.*, episodes.csv, actor.safetensors, tensorboard/ and checkpoints/.

    Raises SettingsError for settings out of their bounds, FolderInUseError where another process writes to that folder,
    SnapshotError where there is nothing to resume, EncoderError and DatasetError for what cannot be read, KeysError,
    AddressError and LaunchError where no actors could come to it, DashboardError for a port in use, TrainError where
    the learner finds that out later.
    """
    checked(config)
    insist_on_sense(config)
    torch.set_num_threads(1)
    facts = gather_facts(config)
    asked, config = config, resolved(config, facts.top_speed_mps * facts.period_s)
    if config.d4pg != asked.d4pg:
        console.print(f"D4PG's atoms widened to {config.d4pg.v_max:.1f} m, for driving at top speed")
    written = as_json(config)
    _insist_on_beginning(config, written)
    graph = encoder_graph(config.encoder)
    with (
        load_crew(config.launcher)(config.actors, config.address) as crew,
        rendezvous(config.listen, config.keys, crew.host) as met,
        alone_in(config.out),
        watched(config, console),
        console.status("the actors start up") as status,
    ):
        if config.resume:
            load_newest(config.out / CHECKPOINTS, partial(console.print, style="yellow", markup=False))  # there is one
        else:
            shutil.rmtree(config.out / CHECKPOINTS, ignore_errors=True)  # of an earlier run
        write_whole(config.out / CONFIG, written)
        write_whole(config.out / FACTS, msgspec.json.format(msgspec.json.encode(facts)))
        if config.encoder not in LEARNED:
            shutil.copyfile(config.encoder, config.out / "vae.safetensors")
        write_whole(config.out / GRAPH, graph)
        face = Face(console.print, status.update)
        if config.sync:
            return in_turns(config, facts, graph, face)
        return supervised(config, facts, graph, crew, met, face)


@contextmanager
def watched(config: TrainConfig, console: Console) -> Iterator[None]:
    """Have a page show the run's curves, if one is wanted. Raises DashboardError."""
    with wanted(config.dashboard) as link:
        if link:
            link.tell(Scene(kind="run", title=f"training {config.out.name} by {config.algo}", run=str(config.out)))
            console.print(f"dashboard at {link.to_watch}")
        yield


def supervised(
    config: TrainConfig, facts: PolicyFacts, graph: bytes, crew: Crew, met: Rendezvous, face: Face
) -> Progress:
    """Have a learner and actors at work until training is over, each in a process that is started anew when it dies."""
    learner = Job("the learner", learn, (config, facts, met.learner, met.learner_keys), silence_s=60.0)
    actors = crew.start(Orders(config, facts, graph, met.actors, met.actor_keys), face.say)
    with Supervisor([learner, *actors], face.say) as supervisor:
        try:
            return _outcome(supervisor, crew, face)
        except KeyboardInterrupt:
            supervisor.workers[0].process.terminate()  # which lets the learner save
            supervisor.workers[0].process.join(SAVING_S)
            raise


def _outcome(supervisor: Supervisor, crew: Crew, face: Face) -> Progress:
    """Show what the learner tells until it has a result."""
    for event in supervisor.events():
        match event:
            case Said(text):
                face.say(text)
            case Doing(text):
                face.show(text)
            case Heard(heard):
                crew.watch(heard)
            case Failed(reason):
                raise TrainError(reason)
            case Progress():
                return event
    raise TrainError("the learner ended without a result")


def _insist_on_beginning(config: TrainConfig, written: bytes) -> None:
    """Raise where a run can neither begin nor go on: SnapshotError for --resume, DatasetError else."""
    if config.resume:
        insist_on_same(config.out / CONFIG, written, FREE)
    else:
        usable(config.episodes, load_sight(config.encoder).config, strict=config.strict)


def gather_facts(config: TrainConfig) -> PolicyFacts:
    """What the policy will be trained for, read off the environment. Raises EncoderError and SettingsError."""
    with closing(LatentState(make_env(config), load_sight(config.encoder))) as env:
        facts = _facts(config, env)
    if (vae := facts.vae) and (vae.height_px, vae.width_px) != (facts.image_height, facts.image_width):
        found, expected = (vae.height_px, vae.width_px), (facts.image_height, facts.image_width)
        raise SettingsError(f"online.vae sees images of {found} pixels (height, width); the camera's are {expected}")
    make_actor(facts)  # which finds out whether there can be such a VAE
    return facts


def _facts(config: TrainConfig, env: LatentState) -> PolicyFacts:
    vehicle = env.get_wrapper_attr("vehicle")
    height, width, _ = env.image.shape
    obs_size, action_size = env.sizes
    return PolicyFacts(
        run=config.out.name,
        algo=config.algo,
        env=config.env,
        scenario=config.scenario,
        roads=config.roads,
        road_seed=config.road_seed,
        length_m=config.length_m,
        obs_size=obs_size,
        action_size=action_size,
        hidden=config.settings.hidden,
        norm=config.settings.actor_norm,
        activation=config.settings.activation,
        pixels=config.encoder in LEARNED,
        vae=config.online.vae if config.encoder == ONLINE else None,
        history=HISTORY,
        period_s=1 / env.metadata["render_fps"],
        image_height=height,
        image_width=width,
        top_speed_mps=vehicle.top_speed_mps,
        max_steering_rad=vehicle.max_steering_rad,
        max_steering_rate_radps=vehicle.max_steering_rate_radps,
    )
