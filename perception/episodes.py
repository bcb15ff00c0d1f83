"""Random episodes: driven in an environment, by one process or several, and written as a dataset."""

import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path

import gymnasium
import numpy as np
import pyarrow as pa

from perception.dataset import EpisodeWriter
from perception.progress import progress_bar
from perception.shards import Episode, Header, labels_of, pack_episode, schema_of, unpack

ALONE = 5000  # frames up to which starting other processes takes longer than they save
LEAD = 16  # episodes that a process may have finished which an earlier one of another process keeps waiting


@dataclass(frozen=True)
class RecordConfig:
    env: str = "sim:LaneFollowing-v0"  # Gymnasium id of the environment to record
    out: Path = Path("runs/demo/episodes")  # folder to write the episodes to; a dataset already there is replaced
    frames: int = 2000  # camera frames to record in all
    seed: int = 0  # of roads, starts and actions; the same seed records the same episodes
    workers: int = 0  # processes that drive, which changes no data; 0 = one, beyond 5,000 frames one a core
    episode_frames: int = 25  # longest episode, in frames (2.5 s at 10 Hz); short ones show more roads and starts
    correlation: float = 0.9  # of an action with the one before (0 = white noise, 1 = constant); 1 s memory at 10 Hz
    steering_std: float = 0.4  # of the random steering, in units of full lock
    speed_mean: float = 0.3  # of the random speed set-point (-1 = stand still, 1 = top speed)
    speed_std: float = 0.5  # of the random speed set-point


class RecordError(ValueError):
    """There is nothing to record."""

    exit_code = 2


def record(config: RecordConfig) -> None:
    """Drive random episodes and write them to `config.out`, `config.frames` frames in all.

    The environment is made with roads="held_in" and random_start. Raises RecordError for less than a frame, and what
    EpisodeWriter raises.
    """
    for name in ("frames", "episode_frames"):
        if getattr(config, name) < 1:
            raise RecordError(f"{name} is {getattr(config, name)}, expected 1 or more")
    with closing(make_env(config.env)) as env:
        header = _header(config, env)
        with EpisodeWriter(config.out, header) as writer, progress_bar("frames") as progress:
            task = progress.add_task("recording", total=config.frames)
            with _driven(config, env, header) as episodes:
                while (left := config.frames - writer.frames) > 0:
                    _write(writer, next(episodes), left)
                    progress.update(task, completed=writer.frames)


def make_env(name: str) -> gymnasium.Env:
    """The environment of that id as random episodes are driven in it: on training roads, from anywhere."""
    return gymnasium.make(name, roads="held_in", random_start=True)


def _header(config: RecordConfig, env: gymnasium.Env) -> Header:
    height, width, _ = env.observation_space["image"].shape  # type: ignore[index]  (a Dict space)
    settings = {name: value for name, value in asdict(config).items() if name not in ("out", "workers")}
    return Header("record", height, width, settings | {"fps": env.metadata.get("render_fps")})


def _write(writer: EpisodeWriter, message: bytes, left: int) -> None:
    """Write an episode, or its first `left` frames."""
    batch = pa.ipc.read_record_batch(pa.py_buffer(message), schema_of(writer.header))
    if batch.num_rows <= left:
        writer.write_message(message, batch.num_rows)
    else:
        writer.append(_first(unpack(batch, writer.header), left))


def _first(episode: Episode, frames: int) -> Episode:
    """The beginning of an episode that goes on."""
    return Episode(
        images=episode.images[:frames],
        states=episode.states[:frames],
        labels=episode.labels[:frames],
        actions=episode.actions[: frames - 1],
        rewards=episode.rewards[: frames - 1],
        terminated=False,
        seed=episode.seed,
    )


# -- who drives


@contextmanager
def _driven(config: RecordConfig, env: gymnasium.Env, header: Header) -> Iterator[Iterator[bytes]]:
    """Episodes without end, in their order, driven here or by several processes."""
    workers = config.workers or (1 if config.frames <= ALONE else len(os.sched_getaffinity(0)))
    if workers == 1:
        yield (drive_episode(config, env, header, number) for number in count())
        return
    with _processes(config, header, workers) as pipes:
        yield _in_order(pipes)


@contextmanager
def _processes(config: RecordConfig, header: Header, workers: int) -> Iterator[list[Connection]]:
    """Processes that drive every `workers`-th episode each, and where they send them; they end with this one."""
    context = get_context("spawn")  # the environment has threads and sockets of its own
    pipes, processes = [], []
    try:
        for first in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(theirs, config, header, first, workers), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.terminate()
            process.join()


def _work(pipe: Connection, config: RecordConfig, header: Header, first: int, step: int) -> None:
    """Drive episode after episode until nobody is there to take them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started this
    with closing(make_env(config.env)) as env:
        for number in count(first, step):
            try:
                pipe.send_bytes(drive_episode(config, env, header, number))
            except (BrokenPipeError, ConnectionResetError):
                return


def _in_order(pipes: list[Connection]) -> Iterator[bytes]:
    """What the processes send, one after another; those that are ahead are read ahead. Raises EOFError if one died."""
    waiting: list[deque[bytes]] = [deque() for _ in pipes]
    for number in count():
        turn = number % len(pipes)
        while not waiting[turn]:
            for pipe in wait([p for p, ahead in zip(pipes, waiting, strict=True) if len(ahead) < LEAD]):
                waiting[pipes.index(pipe)].append(pipe.recv_bytes())  # type: ignore[arg-type, union-attr]
        yield waiting[turn].popleft()


# -- one episode


def drive_episode(config: RecordConfig, env: gymnasium.Env, header: Header, number: int) -> bytes:
    """Drive an episode, which depends on the config's seed and its own number alone; returns a serialised batch."""
    rng = np.random.default_rng([config.seed, number])
    seed = int(rng.integers(2**31))
    episode = _drive(env, correlated_actions(config, rng), config.episode_frames, seed)
    return pack_episode(number, episode, header).serialize().to_pybytes()


def correlated_actions(config: RecordConfig, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield (2,) float32 actions in [-1, 1]: an AR(1) process with the configured stationary mean and deviation.

    x' = ρ·x + √(1−ρ²)·σ·N(0, 1), the exact discretisation of an Ornstein-Uhlenbeck process.
    """
    mean, std = np.array([0.0, config.speed_mean]), np.array([config.steering_std, config.speed_std])
    rho = config.correlation
    noise = std * rng.standard_normal(2)
    while True:
        yield np.clip(mean + noise, -1, 1).astype(np.float32)
        noise = rho * noise + np.sqrt(1 - rho**2) * std * rng.standard_normal(2)


def _drive(env: gymnasium.Env, actions: Iterator[np.ndarray], frames: int, seed: int) -> Episode:
    """Drive until the episode ends or that many frames are seen."""
    obs, info = env.reset(seed=seed)
    seen, done, rewards, terminated = [(obs, info)], [], [], False
    while len(seen) < frames:
        action = next(actions)
        obs, reward, terminated, truncated, info = env.step(action)
        seen.append((obs, info))
        done.append(action)
        rewards.append(reward)
        if terminated or truncated:
            break
    return Episode(
        images=np.stack([obs["image"] for obs, _ in seen]),
        states=np.stack([obs["state"] for obs, _ in seen]),
        labels=np.array([labels_of(info) for _, info in seen], np.float32),
        actions=np.array(done, np.float32).reshape(-1, 2),
        rewards=np.array(rewards, np.float32),
        terminated=terminated,
        seed=seed,
    )
