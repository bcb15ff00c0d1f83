"""Frames to learn from and to measure on, with what is known of the lane in each; refused when they teach nothing."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from perception.dataset import Dataset
from perception.encoders.convolutions import EyeConfig
from perception.episodes import RecordConfig, correlated_actions
from perception.shards import LABELS, DatasetError, labels_of

LEAST = 10  # frames; fewer cannot be split into nine to learn from and one to judge by


class Frames(NamedTuple):
    """What was seen, and where the car was: columns as in LABELS, NaN where nobody knows."""

    images: UInt8[Tensor, "n h w 3"]
    labels: Float[np.ndarray, "n k"]

    def split(self, at: int) -> tuple["Frames", "Frames"]:
        return Frames(self.images[:at], self.labels[:at]), Frames(self.images[at:], self.labels[at:])


def read_frames(folder: Path, eye: EyeConfig, *, strict: bool = False) -> Frames:
    """All frames of a dataset's folder, in memory.

    Raises DatasetError as Dataset does and, naming the folder, when there are fewer than ten, all are the same, or they
    have another size than the encoder's.
    """
    dataset = Dataset(folder, strict=strict)
    found, expected = dataset.header.size, (eye.height_px, eye.width_px)
    if found != expected:
        raise DatasetError(f"{folder}: images are {found} pixels (height, width), the encoder's are {expected}")
    if len(dataset) < LEAST:
        raise DatasetError(f"{folder}: holds {len(dataset)} frames, expected {LEAST} or more to learn from")
    images = torch.from_numpy(dataset.frames())
    if (images == images[0]).all():
        raise DatasetError(f"{folder}: all {len(images)} frames are the same picture; there is nothing to learn")
    return Frames(images, dataset.column(*LABELS))


def drive_frames(env: str, frames: int, seed: int, **options: Any) -> Frames:
    """Drive at random in an environment of that id, as `lapwing record` does, and keep what is seen in memory."""
    rng, config = np.random.default_rng(seed), RecordConfig()
    with closing(gymnasium.make(env, random_start=True, **options)) as world:
        images, labels = zip(*_moments(world, config, frames, rng), strict=True)
    return Frames(torch.from_numpy(np.stack(images)), np.array(labels, np.float32))


def _moments(
    world: gymnasium.Env, config: RecordConfig, frames: int, rng: np.random.Generator
) -> Iterable[tuple[np.ndarray, list[float]]]:
    left = frames
    while left:
        actions = correlated_actions(config, rng)
        obs, info = world.reset(seed=int(rng.integers(2**31)))
        over = False
        for _ in range(min(left, config.episode_frames)):
            yield obs["image"], labels_of(info)
            left -= 1
            if over:
                break
            obs, _, terminated, truncated, info = world.step(next(actions))
            over = terminated or truncated
