"""`lapwing train`: one actor process drives, this process learns, until the policy drives the whole route."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pkgutil import resolve_name

import gymnasium
import msgspec
import numpy as np
import torch
import zmq
from rich.console import Console
from rich.status import Status

from agent.actor import Driver, LearnerGone
from agent.actors import Actors
from agent.algorithms import ALGORITHMS
from agent.channel import ActorEnd, Addresses, LearnerEnd, local_addresses
from agent.checkpoint import PolicyFacts, load_flat_weights, make_actor, save_actor
from agent.experience import Transitions, random_experience
from agent.latent import HISTORY, LatentState, RateLimit
from agent.learner import Algorithm, Learner
from agent.metrics import Curves, Table
from agent.noise import OrnsteinUhlenbeck, ladder
from agent.replay import Replay
from agent.settings import checked
from agent.snapshot import CHECKPOINTS, Snapshot, insist_on_same, load_newest
from agent.train_config import TrainConfig, resolved
from deploy.wire import EpisodeReport
from perception.encoders import load_encoder
from perception.encoders.vae import VAE
from perception.files import alone_in, write_whole


@dataclass
class Progress:
    """What training has come to, and when it may stop."""

    passes_wanted: int
    max_episodes: int
    passes: int = 0
    fruitless: int = 0  # tests since the last that drove the whole route, or since the networks started anew
    best_m: float = -1.0
    train: list[EpisodeReport] = field(default_factory=list)
    tests: list[EpisodeReport] = field(default_factory=list)

    def add(self, report: EpisodeReport) -> bool:
        """Count an episode; return True when it is a test that no earlier one outdid."""
        if report.kind == "train":
            self.train.append(report)
            return False
        self.tests.append(report)
        self.passes = self.passes + 1 if report.finished else 0
        self.fruitless = 0 if report.finished else self.fruitless + 1
        best = report.distance_m >= self.best_m or report.finished
        self.best_m = max(self.best_m, report.distance_m)
        return best

    @property
    def solved(self) -> bool:
        """True once enough tests in a row drove the whole route."""
        return self.passes >= self.passes_wanted

    @property
    def over(self) -> bool:
        """True when training ends, solved or not."""
        return self.solved or len(self.tests) >= self.max_episodes


def train(config: TrainConfig, console: Console) -> Progress:
    """Train until solved or out of episodes; write config.json, vae.safetensors, episodes.csv, actor.safetensors.

    Raises SettingsError for settings out of their bounds, FolderInUseError where another process writes to that folder,
    SnapshotError where there is nothing to resume.
    """
    checked(config)
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    encoder = load_encoder(config.encoder)
    env = make_env(config, encoder)
    facts = gather_facts(config, env)
    env.close()
    asked, config = config, resolved(config, facts.top_speed_mps * facts.period_s)
    if config != asked:
        console.print(f"D4PG's atoms widened to {config.d4pg.v_max:.1f} m, for driving at top speed")
    written = msgspec.json.format(msgspec.json.encode(config, enc_hook=str))
    begin = _resumed(config, written, console) if config.resume else random_experience(config.episodes, encoder, facts)
    with (
        alone_in(config.out),
        _line() as (line, addresses),
        Actors(drive, (config, facts, addresses), console.print, config.actors) as actors,
    ):
        if not config.resume:
            shutil.rmtree(config.out / CHECKPOINTS, ignore_errors=True)  # of an earlier run
        write_whole(config.out / "config.json", written)
        shutil.copyfile(config.encoder, config.out / "vae.safetensors")
        return _learn(config, begin, facts, line, actors, console)


def make_env(config: TrainConfig, encoder: VAE) -> LatentState:
    """The route to learn, seen through the encoder."""
    env = gymnasium.make(config.env, road_seed=config.road_seed, length_m=config.length_m)
    return LatentState(env, encoder)


def gather_facts(config: TrainConfig, env: LatentState) -> PolicyFacts:
    """What the policy will be trained for, read off the environment."""
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


def _learn(
    config: TrainConfig,
    begin: Snapshot | Transitions,
    facts: PolicyFacts,
    line: LearnerEnd,
    actors: Actors,
    console: Console,
) -> Progress:
    """Be the learner until training is over; returns what it has come to."""
    limit = RateLimit(facts.max_steering_rate_radps * facts.period_s / facts.max_steering_rad)

    def new_algorithm() -> Algorithm:
        return resolve_name(ALGORITHMS[config.algo])(config.settings, facts.obs_size, facts.action_size, limit)

    generator = torch.Generator().manual_seed(config.seed)
    replay = Replay(config.replay_capacity, facts.obs_size, facts.action_size, generator)
    learner = Learner(new_algorithm(), replay, config.ratio, line)
    progress = _begin(config, learner, begin)
    driver = make_actor(facts)
    names = [*EpisodeReport.__struct_fields__, "updates"]
    with (
        closing(Table(config.out / "episodes.csv", names, "updates", learner.updates)) as table,
        Curves(config.out / "tensorboard", learner.updates) as curves,
        console.status("the actor starts up") as status,
    ):
        saved_at = learner.updates

        def judge(report: EpisodeReport, weights: np.ndarray | None) -> bool:
            nonlocal saved_at
            if progress.add(report) and weights is not None:
                load_flat_weights(driver, torch.from_numpy(weights.copy()))
                save_actor(config.out / "actor.safetensors", driver, facts)
            table.write([*msgspec.structs.astuple(report), learner.updates])
            _log(curves, report, learner)
            _tell(console, status, progress, learner, report)
            if progress.fruitless == config.restart_after:
                console.print("no whole route for long: the networks start anew, the replay stays")
                learner.algorithm, progress.fruitless = new_algorithm(), 0
            if report.kind == "test" and learner.updates - saved_at >= config.checkpoint_every:
                saved_at = learner.updates
                _save(config, learner, progress, console)
            return progress.over

        learner.run(judge, lambda: actors.watch(line.heard_at_s))
        learner.stop()
    return progress


def _save(config: TrainConfig, learner: Learner, progress: Progress, console: Console) -> None:
    """Write a checkpoint; where that fails training goes on, with a warning."""
    try:
        learner.save(config.out / CHECKPOINTS, {"progress": msgspec.to_builtins(progress)})
    except OSError as error:
        console.print(f"[bold red]no checkpoint was written ({error}); training goes on[/]")


def _resumed(config: TrainConfig, written: bytes, console: Console) -> Snapshot:
    """The newest checkpoint. Raises SnapshotError when there is none, or it is of a run with another config."""
    free = {"resume", "actors", "max_episodes", "passes", "checkpoint_every"}
    insist_on_same(config.out / "config.json", written, free)
    return load_newest(config.out / CHECKPOINTS, lambda text: console.print(f"[yellow]{text}[/]"))


def _begin(config: TrainConfig, learner: Learner, begin: Snapshot | Transitions) -> Progress:
    """Go on from a checkpoint, or start with random experience; returns what training has come to."""
    if not isinstance(begin, Snapshot):
        learner.insert(*begin.arrays())
        return Progress(config.passes, config.max_episodes)
    learner.restore(begin)
    progress = msgspec.convert(begin.facts["progress"], Progress)
    return replace(progress, passes_wanted=config.passes, max_episodes=config.max_episodes)


def _log(curves: Curves, report: EpisodeReport, learner: Learner) -> None:
    """Add an episode to the curves, and where the learner stands; staleness is in versions of the weights."""
    staleness = learner.version - report.version
    episode = {"return": report.reward, "length": report.steps, "distance_m": report.distance_m}
    curves.add(report.kind, episode | {"weight_staleness": staleness}, learner.updates)
    curves.add("learner", learner.scalars(), learner.updates)


def _tell(console: Console, status: Status, progress: Progress, learner: Learner, report: EpisodeReport) -> None:
    """Print a line per test, with the training before it, and what the learner is doing now."""
    seconds = time.monotonic() - learner.began
    status.update(
        f"episode {len(progress.train)}: {learner.updates} updates ({learner.updates / seconds:.0f}/s), "
        f"{learner.transitions} transitions"
    )
    if report.kind == "train":
        return
    trained, test = next(train for train in reversed(progress.train) if train.actor == report.actor), report
    result = "whole route" if test.finished else test.disengagement or "out of time"
    console.print(
        f"episode {len(progress.train):3d}  trained {trained.distance_m:5.1f} m  test {test.distance_m:5.1f} m "
        f"at {test.distance_m / test.steps * 36:4.1f} km/h  [{'green' if test.finished else 'yellow'}]{result}[/]  "
        f"{learner.updates} updates  {seconds:.0f} s"
    )


@contextmanager
def _line() -> Iterator[tuple[LearnerEnd, Addresses]]:
    """The learner's sockets, in a folder that goes with them."""
    with tempfile.TemporaryDirectory(prefix="lapwing-") as folder, zmq.Context() as context:
        addresses = local_addresses(folder)
        line = LearnerEnd(context, addresses)
        try:
            yield line, addresses
        finally:
            line.close()


def drive(actor: int, restarts: int, config: TrainConfig, facts: PolicyFacts, addresses: Addresses) -> None:
    """Be an actor process: drive until training is over or the learner is gone."""
    torch.set_num_threads(1)
    env = make_env(config, load_encoder(config.encoder))
    seeds = np.random.SeedSequence(config.seed, spawn_key=(actor,) * (restarts + (actor > 0)))  # no two lives alike
    scale = ladder(config.actors - 1 - actor, config.actors)
    noise = OrnsteinUhlenbeck(config.noise, facts.action_size, np.random.default_rng(seeds), scale)
    with zmq.Context() as context:
        line = ActorEnd(context, addresses, actor)
        try:
            Driver(env, make_actor(facts), noise, line).run(config.seed + actor)
        except LearnerGone:
            pass
        finally:
            line.close()
            env.close()
