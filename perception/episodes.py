"""Random episodes: recorded from an environment to a folder, and read back.

The folder holds one .npz file per episode and `dataset.json`, which lists the complete ones with their checksums.
An episode enters the list only after its file is whole, so a recording that is cut short leaves readable episodes.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gymnasium
import msgspec
import numpy as np

from perception.files import write_whole
from perception.progress import progress_bar

FORMAT = "lapwing-episodes/2"
INDEX = "dataset.json"
LABELS = ("lateral_offset_m", "heading_error_rad", "curvature_1pm")
LABELS += ("curvature_2m_1pm", "curvature_5m_1pm", "curvature_10m_1pm")  # so far ahead, at full size
AHEAD = "curvature_ahead_1pm"  # in an environment's info, the last three of LABELS


@dataclass(frozen=True)
class RecordConfig:
    env: str = "sim:LaneFollowing-v0"  # Gymnasium id of the environment to record
    out: Path = Path("runs/demo/episodes")  # folder to write the episodes to; a dataset already there is replaced
    frames: int = 2000  # camera frames to record in all
    seed: int = 0  # of roads, starts and actions; the same seed records the same episodes
    episode_frames: int = 25  # longest episode, in frames (2.5 s at 10 Hz); short ones show more roads and starts
    correlation: float = 0.9  # of an action with the one before (0 = white noise, 1 = constant); 1 s memory at 10 Hz
    steering_std: float = 0.4  # of the random steering, in units of full lock
    speed_mean: float = 0.3  # of the random speed set-point (-1 = stand still, 1 = top speed)
    speed_std: float = 0.5  # of the random speed set-point


@dataclass(frozen=True)
class Episode:
    """One drive: what was seen at n moments and what was done between them."""

    images: np.ndarray  # (n, h, w, 3) uint8 RGB
    states: np.ndarray  # (n, 4) float32: speed_mps, steering_rad, executed steering and speed set-point
    lateral_offset_m: np.ndarray  # (n,) float32, left of the lane's centre
    heading_error_rad: np.ndarray  # (n,) float32, left of the lane's direction
    curvature_1pm: np.ndarray  # (n,) float32 of the lane, left positive
    curvature_2m_1pm: np.ndarray  # (n,) float32, 2 m ahead at full size
    curvature_5m_1pm: np.ndarray
    curvature_10m_1pm: np.ndarray
    actions: np.ndarray  # (n - 1, 2) float32 in [-1, 1]; actions[i] leads from moment i to i + 1
    rewards: np.ndarray  # (n - 1,) float32, metres along the lane
    terminated: np.ndarray  # () bool: the last moment is a disengagement


class DatasetError(Exception):
    """A dataset that cannot be read; the message names the file."""

    exit_code = 2


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One episode as `dataset.json` lists it."""

    file: str
    frames: int
    seed: int
    sha256: str


class Index(msgspec.Struct, forbid_unknown_fields=True):
    """The content of `dataset.json`."""

    format: str
    env: str
    seed: int
    image_size: tuple[int, int]
    episodes: list[Entry] = []

    @property
    def frames(self) -> int:
        return sum(entry.frames for entry in self.episodes)


def record(config: RecordConfig) -> None:
    """Drive random episodes and write them to `config.out`, `config.frames` frames in all.

    The environment is made with roads="held_in" and random_start. Raises DatasetError when the folder holds other
    things.
    """
    rng = np.random.default_rng(config.seed)
    with closing(gymnasium.make(config.env, roads="held_in", random_start=True)) as env:
        height, width, _ = env.observation_space.sample()["image"].shape
        index = Index(FORMAT, config.env, config.seed, (height, width))
        _begin(config.out, index)
        with progress_bar("frames") as progress:
            task = progress.add_task("recording", total=config.frames)
            while (left := config.frames - index.frames) > 0:
                seed = int(rng.integers(2**31))
                episode = _drive(env, correlated_actions(config, rng), min(left, config.episode_frames), seed)
                _append(config.out, index, episode, seed)
                progress.update(task, completed=index.frames)


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


def read_episodes(path: Path) -> Iterator[Episode]:
    """Iterate over the complete episodes of a dataset folder, in the order of recording.

    Raises DatasetError, naming the file, when one is missing, damaged or of another format.
    """
    for entry in _read_index(path).episodes:
        yield _read_episode(path / entry.file, entry)


def read_frames(path: Path) -> np.ndarray:
    """Return all camera frames of a dataset folder, (n, h, w, 3) uint8 RGB; raises as read_episodes does."""
    return np.concatenate([episode.images for episode in read_episodes(path)])


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
        **dict(zip(LABELS, np.array([labels_of(info) for _, info in seen], np.float32).T, strict=True)),
        actions=np.array(done, np.float32).reshape(-1, 2),
        rewards=np.array(rewards, np.float32),
        terminated=np.array(terminated),
    )


def labels_of(info: dict[str, Any]) -> list[float]:
    """What an environment's info tells of LABELS; NaN for the rest."""
    told = info | dict(zip(LABELS[-3:], info.get(AHEAD, ()), strict=False))
    return [float(told.get(label, np.nan)) for label in LABELS]


def _begin(folder: Path, index: Index) -> None:
    """Write the list of no episodes yet, then remove the files of the dataset it replaces."""
    for file in folder.glob("*"):
        if not file.name.startswith((INDEX, "episode-")):
            raise DatasetError(f"{file}: is not part of a dataset; record to a folder of its own")
    _write_index(folder, index)
    for file in folder.glob("episode-*.npz*"):
        file.unlink()


def _append(folder: Path, index: Index, episode: Episode, seed: int) -> None:
    """Write an episode's file and then the list that names it."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **vars(episode))
    content = buffer.getvalue()
    name = f"episode-{len(index.episodes):05}.npz"
    write_whole(folder / name, content)
    index.episodes.append(Entry(name, len(episode.images), seed, hashlib.sha256(content).hexdigest()))
    _write_index(folder, index)


def _write_index(folder: Path, index: Index) -> None:
    write_whole(folder / INDEX, msgspec.json.format(msgspec.json.encode(index)))


def _read_index(folder: Path) -> Index:
    path = folder / INDEX
    try:
        index = msgspec.json.decode(path.read_bytes(), type=Index)
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{path}: there is no dataset here; write one with `lapwing record`") from None
    except msgspec.DecodeError as error:
        raise DatasetError(f"{path}: is not the list of a dataset's episodes: {error}") from None
    if index.format != FORMAT:
        raise DatasetError(f"{path}: format is {index.format!r}, expected {FORMAT!r}; record the dataset again")
    if not index.episodes:
        raise DatasetError(f"{path}: lists no complete episode; record the dataset again")
    return index


def _read_episode(path: Path, entry: Entry) -> Episode:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"{path}: is missing, but {INDEX} lists it; record the dataset again") from None
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise DatasetError(f"{path}: is truncated or damaged: its checksum differs from {INDEX}; record it again")
    return _parse(path, content)


def _parse(path: Path, content: bytes) -> Episode:
    wanted = {field.name for field in fields(Episode)}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if set(arrays) != wanted:
                raise DatasetError(f"{path}: holds {sorted(arrays)}, expected {sorted(wanted)}")
            return Episode(**arrays)
    except (ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: is not an episode: {error}") from None
