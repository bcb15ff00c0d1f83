"""Episodes of random numbers, and how to tell whether two are the same."""

from pathlib import Path

import numpy as np

from perception.dataset import EpisodeWriter
from perception.shards import Episode, Header

HEIGHT, WIDTH = 4, 5
HEADER = Header("test", HEIGHT, WIDTH, {"answer": 42})


def episode(frames: int, seed: int = 0, **changes: object) -> Episode:
    """Noise, that many frames of it."""
    rng = np.random.default_rng([frames, abs(seed)])
    numbers = {
        "images": rng.integers(0, 256, (frames, HEIGHT, WIDTH, 3), dtype=np.uint8),
        "states": rng.normal(size=(frames, 4)).astype(np.float32),
        "labels": rng.normal(size=(frames, 6)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (frames - 1, 2)).astype(np.float32),
        "rewards": rng.normal(size=frames - 1).astype(np.float32),
        "terminated": bool(seed % 2),
        "seed": seed,
    }
    return Episode(**numbers | changes)


def same(a: Episode, b: Episode) -> bool:
    """Equal in every number, and in what is not known."""
    pairs = [(getattr(a, name), getattr(b, name)) for name in vars(a)]
    return all(np.array_equal(x, y, equal_nan=np.asarray(x).dtype == np.float32) for x, y in pairs)


def write(folder: Path, *episodes: Episode, **options: object) -> list[int]:
    """Write them; returns how long the first shard was after each."""
    with EpisodeWriter(folder, HEADER, **options) as writer:
        sizes = []
        for one in episodes:
            writer.append(one)
            sizes.append((folder / "shard-00000.arrow").stat().st_size)
    return sizes
