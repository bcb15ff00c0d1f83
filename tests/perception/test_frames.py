"""What teaches nothing is refused in one line; what is driven is labelled."""

from pathlib import Path

import numpy as np
import pytest

from perception.encoders.convolutions import EyeConfig
from perception.episodes import RecordConfig, record
from perception.frames import drive_frames, read_frames
from perception.shards import DatasetError
from tests.perception.lanes import FAKE, SIZE, Lane

EYE = EyeConfig(height_px=SIZE, width_px=SIZE, channels=(4, 4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record(RecordConfig(env=FAKE, out=tmp_path, frames=30, episode_frames=10))
    return tmp_path


def test_frames_come_with_their_labels(folder: Path) -> None:
    images, labels = read_frames(folder, EYE)
    assert images.shape == (30, SIZE, SIZE, 3)
    assert labels[:, 1] == pytest.approx(-labels[:, 0])
    assert labels[:, 3:] == pytest.approx(labels[:, 2:3] + np.array([[0.02, 0.05, 0.1]]), abs=1e-6)


def test_images_of_another_size_are_refused(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"\(16, 16\).*\(64, 64\)"):
        read_frames(folder, EyeConfig())


@pytest.mark.parametrize("count", [1, 9])
def test_too_few_frames_are_refused(tmp_path: Path, count: int) -> None:
    record(RecordConfig(env=FAKE, out=tmp_path, frames=count))
    with pytest.raises(DatasetError, match=rf"holds {count} frames, expected 10 or more") as caught:
        read_frames(tmp_path, EYE)
    assert str(tmp_path) in str(caught.value)


def test_frames_that_are_all_the_same_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = Lane._moment

    def dark(lane: Lane, action: np.ndarray) -> tuple[dict, dict]:
        obs, info = moment(lane, action)
        return obs | {"image": np.zeros_like(obs["image"])}, info

    monkeypatch.setattr(Lane, "_moment", dark)
    record(RecordConfig(env=FAKE, out=tmp_path, frames=20))
    with pytest.raises(DatasetError, match="all 20 frames are the same picture"):
        read_frames(tmp_path, EYE)


def test_driving_yields_as_many_frames_as_asked_for_and_depends_on_the_seed() -> None:
    first, same, other = (drive_frames(FAKE, 40, seed, roads="held_in") for seed in (1, 1, 2))
    assert first.images.shape == (40, SIZE, SIZE, 3)
    assert first.labels.shape == (40, 6)
    assert np.array_equal(first.labels, same.labels)
    assert not np.array_equal(first.labels, other.labels)
