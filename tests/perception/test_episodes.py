"""Episodes are recorded as they happened, and what is damaged is not read."""

import hashlib
import io
import itertools
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import gymnasium
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.episodes import (
    INDEX,
    DatasetError,
    Episode,
    RecordConfig,
    correlated_actions,
    read_episodes,
    read_frames,
    record,
)
from tests.perception.lanes import ANNOUNCING, EDGE_M, FAKE, SIZE

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """103 frames of the fake lane; copy before damaging."""
    folder = tmp_path_factory.mktemp("recorded") / "episodes"
    record(RecordConfig(env=FAKE, out=folder, frames=103, episode_frames=10, seed=1))
    return folder


@pytest.fixture
def copied(recorded: Path, tmp_path: Path) -> Path:
    """A dataset of one's own."""
    for file in recorded.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_as_many_frames_as_asked_for_are_recorded(recorded: Path) -> None:
    frames = read_frames(recorded)
    assert frames.shape == (103, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    assert max(len(episode.images) for episode in read_episodes(recorded)) <= 10


def test_an_action_leads_from_its_moment_to_the_next(recorded: Path) -> None:
    for episode in read_episodes(recorded):
        assert np.diff(episode.lateral_offset_m) == pytest.approx(0.1 * episode.actions[:, 0], abs=1e-6)
        assert episode.rewards == pytest.approx(0.1 * episode.actions[:, 1])
        assert episode.states[1:, 2:] == pytest.approx(episode.actions)
        assert episode.heading_error_rad == pytest.approx(-episode.lateral_offset_m)


def test_termination_is_noted_and_ends_the_episode(tmp_path: Path) -> None:
    config = RecordConfig(env=FAKE, out=tmp_path, frames=500, episode_frames=100, steering_std=2.0)
    record(config)
    episodes = list(read_episodes(tmp_path))[:-1]  # the last is cut by the number of frames
    assert {bool(episode.terminated) for episode in episodes} == {True}
    assert all(abs(episode.lateral_offset_m[-1]) > EDGE_M for episode in episodes)
    assert all((np.abs(episode.lateral_offset_m[:-1]) <= EDGE_M).all() for episode in episodes)


def test_the_same_seed_records_the_same_bytes_and_another_seed_others(recorded: Path, tmp_path: Path) -> None:
    config = RecordConfig(env=FAKE, out=tmp_path / "same", frames=103, episode_frames=10, seed=1)
    record(config)
    record(replace(config, out=tmp_path / "other", seed=2))
    assert contents(tmp_path / "same") == contents(recorded)
    assert not np.array_equal(read_frames(tmp_path / "other"), read_frames(recorded))


def test_a_new_recording_replaces_the_old_one(copied: Path) -> None:
    record(RecordConfig(env=FAKE, out=copied, frames=20, episode_frames=10))
    assert len(read_frames(copied)) == 20
    listed = [entry["file"] for entry in msgspec.json.decode((copied / INDEX).read_bytes())["episodes"]]
    assert sorted(contents(copied)) == [INDEX, *listed]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("five years")
    with pytest.raises(DatasetError, match=r"thesis\.txt"):
        record(RecordConfig(env=FAKE, out=tmp_path, frames=5))
    assert contents(tmp_path) == {"thesis.txt": b"five years"}


def test_actions_are_an_autoregressive_process_with_the_configured_moments() -> None:
    config = RecordConfig(steering_std=0.2, speed_mean=0.3, speed_std=0.1, correlation=0.8)
    actions = np.array(list(itertools.islice(correlated_actions(config, np.random.default_rng(0)), 40_000)))
    assert actions.mean(axis=0) == pytest.approx([0.0, 0.3], abs=0.015)
    assert actions.std(axis=0) == pytest.approx([0.2, 0.1], rel=0.04)
    for column, lag in itertools.product(actions.T, (1, 5)):
        assert np.corrcoef(column[:-lag], column[lag:])[0, 1] == pytest.approx(0.8**lag, abs=0.03)


@given(mean=st.floats(-1, 1), std=st.floats(0, 10), correlation=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_actions_stay_in_their_box(mean: float, std: float, correlation: float, seed: int) -> None:
    config = RecordConfig(steering_std=std, speed_mean=mean, speed_std=std, correlation=correlation)
    space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    actions = correlated_actions(config, np.random.default_rng(seed))
    assert all(space.contains(action) for action in itertools.islice(actions, 5))


def test_a_killed_recording_leaves_only_complete_episodes(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from perception.episodes import RecordConfig, record;"
        f"record(RecordConfig(env={ANNOUNCING!r}, out=Path({str(tmp_path)!r}), frames=10**6, episode_frames=5))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=REPOSITORY) as child:
        starts = list(itertools.islice(child.stdout, 20))
        os.kill(child.pid, signal.SIGKILL)
    assert starts == [b"start\n"] * 20
    episodes = list(read_episodes(tmp_path))
    assert len(episodes) >= 19
    assert all(episode.images.any() for episode in episodes)
    record(RecordConfig(env=FAKE, out=tmp_path, frames=5))
    assert len(read_frames(tmp_path)) == 5


def test_an_interrupted_recording_leaves_only_complete_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace
    renames = itertools.count()

    def interrupted(source: Path, target: Path) -> None:
        if next(renames) == 7:  # the list of nothing, three episodes each with its list, and the fourth
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record(RecordConfig(env=FAKE, out=tmp_path, frames=100, episode_frames=5))
    assert len(list(read_episodes(tmp_path))) == 3
    assert not list(tmp_path.glob("*.part"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere.*lapwing record") as caught:
        read_frames(tmp_path / "nowhere")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not the list"),
        (b"\xff\x00", "not the list"),
        (b'{"episodes": []}', "missing required field"),
        (b'{"format": 1, "env": "", "seed": 0, "image_size": [1, 1]}', r"\$.format"),
        (b'{"format": "v9", "env": "", "seed": 0, "image_size": [1, 1]}', "'v9', expected 'lapwing-episodes/2'"),
        (b'{"format": "lapwing-episodes/2", "env": "", "seed": 0, "image_size": [1, 1]}', "no complete episode"),
    ],
)
def test_a_list_that_is_none_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"dataset\.json.*{complaint}"):
        read_frames(tmp_path)


def test_a_missing_episode_is_named(copied: Path) -> None:
    (copied / "episode-00002.npz").unlink()
    with pytest.raises(DatasetError, match=r"episode-00002\.npz.*missing"):
        read_frames(copied)


@given(data=st.data())
def test_a_truncated_or_changed_episode_is_named(recorded: Path, data: st.DataObject) -> None:
    path = recorded / "episode-00001.npz"
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = data.draw(st.sampled_from([whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]]))
    path.write_bytes(damaged)
    try:
        with pytest.raises(DatasetError, match=r"episode-00001\.npz.*damaged"):
            read_frames(recorded)
    finally:
        path.write_bytes(whole)


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        npz(images=np.zeros((2, 4, 4, 3), np.uint8)),
        npz(**{field.name: np.array([print], object) for field in fields(Episode)}),
    ],
    ids=["not an archive", "arrays missing", "pickled code"],
)
def test_what_is_no_episode_is_named_even_if_its_checksum_is_right(copied: Path, content: bytes) -> None:
    index = msgspec.json.decode((copied / INDEX).read_bytes())
    index["episodes"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    (copied / INDEX).write_bytes(msgspec.json.encode(index))
    (copied / "episode-00000.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"episode-00000\.npz"):
        read_frames(copied)
