"""`lapwing train`: actors drive, a learner learns, each in its own process, until the policy drives the whole route."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec
import torch
from rich.console import Console

from agent.channel import Addresses, local_addresses
from agent.checkpoint import PolicyFacts
from agent.jobs import GRAPH, Doing, Failed, Said, drive, in_turns, learn, make_env
from agent.latent import HISTORY, LatentState
from agent.lesson import Face, Progress
from agent.settings import checked
from agent.snapshot import CHECKPOINTS, insist_on_same, load_newest
from agent.supervisor import Job, Supervisor
from agent.train_config import TrainConfig, resolved
from perception.encoders import load_encoder
from perception.episodes import read_episodes
from perception.files import alone_in, write_whole
from perception.graph import encoder_graph

FREE = {"resume", "actors", "envs_per_actor", "max_episodes", "passes", "checkpoint_every"}  # to change on --resume


class TrainError(RuntimeError):
    """The learner cannot learn from what it was given."""

    exit_code = 2


def train(config: TrainConfig, console: Console) -> Progress:
    """Train until solved or out of episodes; write config.json, vae.*, episodes.csv, actor.safetensors, tensorboard/.

    Raises SettingsError for settings out of their bounds, FolderInUseError where another process writes to that folder,
    SnapshotError where there is nothing to resume, EncoderError and DatasetError for what cannot be read, TrainError
    where the learner finds that out later.
    """
    checked(config)
    torch.set_num_threads(1)
    facts = gather_facts(config)
    asked, config = config, resolved(config, facts.top_speed_mps * facts.period_s)
    if config.d4pg != asked.d4pg:
        console.print(f"D4PG's atoms widened to {config.d4pg.v_max:.1f} m, for driving at top speed")
    written = msgspec.json.format(msgspec.json.encode(config, enc_hook=str))
    _insist_on_beginning(config, written, console)
    graph = encoder_graph(config.encoder)
    with alone_in(config.out), console.status("the actors start up") as status:
        if not config.resume:
            shutil.rmtree(config.out / CHECKPOINTS, ignore_errors=True)  # of an earlier run
        write_whole(config.out / "config.json", written)
        shutil.copyfile(config.encoder, config.out / "vae.safetensors")
        write_whole(config.out / GRAPH, graph)
        face = Face(console.print, status.update)
        return in_turns(config, facts, face) if config.sync else supervised(config, facts, face)


def supervised(config: TrainConfig, facts: PolicyFacts, face: Face) -> Progress:
    """Have a learner and actors at work until training is over, each in a process that is started anew when it dies."""
    with local_line() as addresses:
        jobs = [Job("the learner", learn, (config, facts, addresses), silence_s=60.0)]
        jobs += [Job(f"actor {i}", drive, (i, config, facts, addresses)) for i in range(config.actors)]
        with Supervisor(jobs, face.say) as supervisor:
            for event in supervisor.events():
                match event:
                    case Said(text):
                        face.say(text)
                    case Doing(text):
                        face.show(text)
                    case Failed(reason):
                        raise TrainError(reason)
                    case Progress():
                        return event
    raise TrainError("the learner ended without a result")


@contextmanager
def local_line() -> Iterator[Addresses]:
    """Addresses in a folder that goes with them."""
    with tempfile.TemporaryDirectory(prefix="lapwing-") as folder:
        yield local_addresses(folder)


def _insist_on_beginning(config: TrainConfig, written: bytes, console: Console) -> None:
    """Raise where a run can neither begin nor go on: SnapshotError for --resume, DatasetError else."""
    if config.resume:
        insist_on_same(config.out / "config.json", written, FREE)
        load_newest(config.out / CHECKPOINTS, lambda text: console.print(f"[yellow]{text}[/]"))
    else:
        next(read_episodes(config.episodes), None)


def gather_facts(config: TrainConfig) -> PolicyFacts:
    """What the policy will be trained for, read off the environment. Raises EncoderError."""
    with closing(LatentState(make_env(config), load_encoder(config.encoder))) as env:
        return _facts(config, env)


def _facts(config: TrainConfig, env: LatentState) -> PolicyFacts:
    vehicle = env.get_wrapper_attr("vehicle")
    height, width, _ = env.image.shape
    obs_size, action_size = env.sizes
    return PolicyFacts(
        run=config.out.name,
        algo=config.algo,
        env=config.env,
        road_seed=config.road_seed,
        length_m=config.length_m,
        obs_size=obs_size,
        action_size=action_size,
        hidden=config.settings.hidden,
        norm=config.settings.actor_norm,
        activation=config.settings.activation,
        history=HISTORY,
        period_s=1 / env.metadata["render_fps"],
        image_height=height,
        image_width=width,
        top_speed_mps=vehicle.top_speed_mps,
        max_steering_rad=vehicle.max_steering_rad,
        max_steering_rate_radps=vehicle.max_steering_rate_radps,
    )
