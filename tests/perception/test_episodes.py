"""Episodes are recorded as they happened, however many processes drive and whatever becomes of them."""

import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.dataset import Dataset
from perception.episodes import RecordConfig, RecordError, correlated_actions, record
from perception.shards import AHEAD, DatasetError, Episode
from tests.perception.drives import same
from tests.perception.lanes import ANNOUNCING, EDGE_M, FAKE, SIZE

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """103 frames of the fake lane; not to be changed."""
    folder = tmp_path_factory.mktemp("recorded") / "episodes"
    record(RecordConfig(env=FAKE, out=folder, frames=103, episode_frames=10, seed=1))
    return folder


def episodes_of(folder: Path) -> list[Episode]:
    return list(Dataset(folder, strict=True).episodes())


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_as_many_frames_as_asked_for_are_recorded(recorded: Path) -> None:
    frames = Dataset(recorded).frames()
    assert frames.shape == (103, SIZE, SIZE, 3)
    assert frames.dtype == np.uint8
    assert Dataset(recorded).lengths.max() <= 10


def test_an_action_leads_from_its_moment_to_the_next(recorded: Path) -> None:
    for episode in episodes_of(recorded):
        offset_m = episode.label("lateral_offset_m")
        assert np.diff(offset_m) == pytest.approx(0.1 * episode.actions[:, 0], abs=1e-6)
        assert episode.rewards == pytest.approx(0.1 * episode.actions[:, 1])
        assert episode.states[1:, 2:] == pytest.approx(episode.actions)
        assert episode.label("heading_error_rad") == pytest.approx(-offset_m)
        assert episode.label("curvature_5m_1pm") == pytest.approx(episode.label("curvature_1pm") + 0.05, abs=1e-6)


def test_termination_is_noted_and_ends_the_episode(tmp_path: Path) -> None:
    config = RecordConfig(env=FAKE, out=tmp_path, frames=500, episode_frames=500, steering_std=2.0)
    record(config)
    episodes = episodes_of(tmp_path)
    offsets_m = [episode.label("lateral_offset_m") for episode in episodes[:-1]]  # the last is cut by the frames
    assert {episode.terminated for episode in episodes[:-1]} == {True}
    assert all(abs(offset_m[-1]) > EDGE_M for offset_m in offsets_m)
    assert all((np.abs(offset_m[:-1]) <= EDGE_M).all() for offset_m in offsets_m)
    assert not episodes[-1].terminated


def test_the_same_seed_records_the_same_bytes_and_another_seed_others(recorded: Path, tmp_path: Path) -> None:
    config = RecordConfig(env=FAKE, out=tmp_path / "same", frames=103, episode_frames=10, seed=1)
    record(config)
    record(replace(config, out=tmp_path / "other", seed=2))
    assert contents(tmp_path / "same") == contents(recorded)
    assert not np.array_equal(Dataset(tmp_path / "other").frames(), Dataset(recorded).frames())


def test_the_number_of_processes_changes_nothing(recorded: Path, tmp_path: Path) -> None:
    config = RecordConfig(env=FAKE, out=tmp_path, frames=103, episode_frames=10, seed=1, workers=3)
    record(config)
    assert contents(tmp_path) == contents(recorded)


def test_an_episode_depends_on_its_own_seed_alone(recorded: Path) -> None:
    """The environment, reset with the seed that was noted and driven by the same actions, does the same."""
    env = gymnasium.make(FAKE, roads="held_in", random_start=True)
    for episode in episodes_of(recorded)[::3]:
        obs, _ = env.reset(seed=episode.seed)
        seen = [obs, *(env.step(action)[0] for action in episode.actions)]
        assert np.array_equal(episode.images, [obs["image"] for obs in seen])


def test_settings_travel_with_the_data_but_for_where_and_how_it_was_recorded(recorded: Path) -> None:
    header = Dataset(recorded).header
    assert (header.source, header.size) == ("record", (SIZE, SIZE))
    assert header.settings["env"] == FAKE
    assert (header.settings["seed"], header.settings["steering_std"]) == (1, 0.4)
    assert header.settings.keys().isdisjoint({"out", "workers"})


def test_what_an_environment_tells_of_the_road_ahead_is_recorded(tmp_path: Path) -> None:
    record(RecordConfig(out=tmp_path, frames=30))
    episode = next(Dataset(tmp_path).episodes())
    env = gymnasium.make("sim:LaneFollowing-v0", roads="held_in", random_start=True)
    _, info = env.reset(seed=episode.seed)
    env.close()
    ahead = [episode.label(f"curvature_{metres}m_1pm")[0] for metres in (2, 5, 10)]
    assert ahead == pytest.approx(info[AHEAD], rel=1e-6)
    assert not np.isnan(episode.labels).any()


@pytest.mark.parametrize("name", ["frames", "episode_frames"])
def test_nothing_to_record_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordError, match=f"{name} is 0") as caught:
        record(replace(RecordConfig(env=FAKE, out=tmp_path / "out"), **{name: 0}))
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_new_recording_replaces_the_old_one(tmp_path: Path) -> None:
    for frames in (50, 20):
        record(RecordConfig(env=FAKE, out=tmp_path, frames=frames, episode_frames=10))
    assert len(Dataset(tmp_path)) == 20


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


def recording(workers: int, folder: Path) -> subprocess.Popen:
    """A recording without end, in a process and a group of its own, that says when an episode starts."""
    command = ["record", "--env", ANNOUNCING, "--frames", "1000000", "--episode-frames", "5"]
    command += ["--workers", str(workers), "--out", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "lapwing", *command], stdout=subprocess.PIPE, cwd=REPOSITORY, start_new_session=True
    )


def wait_for_starts(child: subprocess.Popen, count: int) -> None:
    assert child.stdout
    starts = (line for line in child.stdout if b"start" in line)
    assert len(list(itertools.islice(starts, count))) == count


def holds_an_episode(folder: Path) -> bool:
    try:
        return len(Dataset(folder)) > 0
    except DatasetError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_recording_leaves_every_finished_episode_and_no_process(tmp_path: Path, workers: int) -> None:
    folder, again = tmp_path / "killed", tmp_path / "again"
    with recording(workers, folder) as child:
        wait_for_starts(child, 60)
        while not holds_an_episode(folder):  # of several processes the first may be the last to start
            wait_for_starts(child, 1)
        os.kill(child.pid, signal.SIGKILL)
        assert child.stdout
        child.stdout.read()  # to the end, which comes when nobody is left who could write
    found = episodes_of(folder)
    assert len(found) >= (59 if workers == 1 else 1)  # of one process, each start follows an episode that is written
    record(RecordConfig(ANNOUNCING, again, frames=sum(len(one.images) for one in found), episode_frames=5))
    assert all(same(a, b) for a, b in zip(found, episodes_of(again), strict=True))
    record(RecordConfig(env=FAKE, out=folder, frames=5))
    assert len(Dataset(folder)) == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_a_recording_with_a_whole_dataset_and_no_process(tmp_path: Path, workers: int) -> None:
    with recording(workers, tmp_path / "out") as child:
        wait_for_starts(child, 100)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        assert child.stdout
        child.stdout.read()
        assert child.wait() == 130
    assert not any(shard.unfinished for shard in Dataset(tmp_path / "out", strict=True).shards)
