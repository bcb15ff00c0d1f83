"""A dataset in Minari's format, for libraries of offline reinforcement learning."""

import re
import shutil
from contextlib import closing
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict

from perception.dataset import Dataset
from perception.episodes import make_env
from perception.shards import LABELS, STATE, DatasetError, Episode

try:
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage
except ImportError as missing:
    raise DatasetError(f'{missing.name} is not installed; pip install "lapwing[export]"') from None

NAME = re.compile(r"[\w-]+-v\d+")


def export_to_minari(dataset: Dataset, root: Path, name: str) -> tuple[int, int]:
    """Write a dataset to ROOT/NAME, whole or not at all; returns the episodes written and those without a step.

    The latter, of one frame, Minari cannot hold. Frames stay lossless; labels are in `infos`. Raises DatasetError for
    a name that Minari does not take, and where there is such a dataset already.
    """
    if not NAME.fullmatch(name):
        raise DatasetError(f"name is {name!r}, expected one that ends with a version, such as lapwing-v0")
    folder, part = root / name, root / f"{name}.part"
    if folder.exists():
        raise DatasetError(f"{folder}: is there already; choose another name, or remove it")
    shutil.rmtree(part, ignore_errors=True)  # of an export that was killed
    part.mkdir(parents=True)
    try:
        storage = MinariStorage.new(
            part / "data",
            observation_space=_observation_space(dataset),
            action_space=Box(-1, 1, (2,), np.float32),
            env_spec=_env_spec(dataset),
            jpeg_encoding=False,
        )
        storage.update_metadata({"dataset_id": name, "minari_version": minari.__version__, **_about(dataset)})
        storage.update_episodes(_buffer(episode) for episode in dataset.episodes() if len(episode.rewards))
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    lone = int((dataset.lengths == 1).sum())
    return len(dataset.lengths) - lone, lone


def _observation_space(dataset: Dataset) -> Dict:
    return Dict(
        image=Box(0, 255, (*dataset.header.size, 3), np.uint8),
        state=Box(-np.inf, np.inf, (len(STATE),), np.float32),
    )


def _about(dataset: Dataset) -> dict[str, str]:
    return {
        "algorithm_name": dataset.header.source,
        "description": f"Written by lapwing {dataset.header.source}: {dataset.header.settings}",
    }


def _env_spec(dataset: Dataset) -> EnvSpec | None:
    """That of the environment that random episodes were recorded from, if there is such a one here."""
    if dataset.header.source != "record":
        return None
    try:
        with closing(make_env(dataset.header.settings["env"])) as env:
            if env.spec:
                env.spec.to_json()
            return env.spec
    except (gymnasium.error.Error, ValueError):  # there is none, or it cannot be written down
        return None


def _buffer(episode: Episode) -> EpisodeBuffer:
    last = np.arange(len(episode.rewards)) == len(episode.rewards) - 1
    return EpisodeBuffer(
        seed=episode.seed if episode.seed >= 0 else None,
        observations={"image": episode.images, "state": episode.states},
        actions=episode.actions,  # type: ignore[arg-type]  (an array does what Minari asks of its lists)
        rewards=episode.rewards,  # type: ignore[arg-type]
        terminations=last & episode.terminated,  # type: ignore[arg-type]
        truncations=last & (not episode.terminated),  # type: ignore[arg-type]
        infos={label: episode.label(label) for label in LABELS},
    )
