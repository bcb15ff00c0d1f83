"""Minari itself reads what was exported, every number of it."""

from pathlib import Path

import minari
import numpy as np
import pytest

from lapwing import main
from perception.dataset import Dataset, EpisodeWriter
from perception.episodes import RecordConfig, record
from perception.minari_export import export_to_minari
from perception.shards import LABELS, DatasetError, Header
from tests.perception.drives import HEADER, episode, write
from tests.perception.lanes import FAKE


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def test_every_array_arrives(root: Path, tmp_path: Path) -> None:
    unknown = np.full((5, 6), np.nan, np.float32)
    episodes = [episode(3, 1), episode(2, 2), episode(5, -1, labels=unknown)]
    write(tmp_path / "data", *episodes)
    assert export_to_minari(Dataset(tmp_path / "data"), root, "drive-v3") == (3, 0)
    loaded = minari.load_dataset("drive-v3")
    assert (loaded.total_episodes, loaded.total_steps) == (3, 7)
    for found, ours in zip(loaded.iterate_episodes(), episodes, strict=True):
        assert found.observations["image"].dtype == np.uint8
        assert np.array_equal(found.observations["image"], ours.images)
        assert np.array_equal(found.observations["state"], ours.states)
        assert np.array_equal(found.actions, ours.actions)
        assert np.array_equal(found.rewards, ours.rewards)
        ends = [False] * (len(ours.rewards) - 1)
        assert found.terminations.tolist() == [*ends, ours.terminated]
        assert found.truncations.tolist() == [*ends, not ours.terminated]
        for label in LABELS:
            assert np.array_equal(found.infos[label], ours.label(label), equal_nan=True)
    seeds = [metadata.get("seed") for metadata in loaded.storage.get_episode_metadata([0, 1, 2])]
    assert seeds == [1, 2, None]


def test_spaces_are_those_of_the_data_and_the_environment_can_be_made_anew(root: Path, tmp_path: Path) -> None:
    record(RecordConfig(out=tmp_path / "data", frames=30))
    assert main(["dataset", "export", str(tmp_path / "data"), "--out", str(root)]) == 0
    loaded = minari.load_dataset("lapwing-v0")
    first = next(loaded.iterate_episodes())
    moment = {name: values[0] for name, values in first.observations.items()}
    assert loaded.observation_space.contains(moment)
    assert all(loaded.action_space.contains(action) for action in first.actions)
    env = loaded.recover_environment()
    obs, _ = env.reset(seed=next(Dataset(tmp_path / "data").episodes()).seed)
    assert np.array_equal(obs["image"], moment["image"])


@pytest.mark.parametrize("env", ["Gone-v1", FAKE])
def test_an_environment_that_is_not_here_or_that_cannot_be_written_down_is_left_out(
    root: Path, tmp_path: Path, env: str
) -> None:
    header = Header("record", HEADER.height_px, HEADER.width_px, {"env": env})
    with EpisodeWriter(tmp_path / "data", header) as writer:
        writer.append(episode(3))
    export_to_minari(Dataset(tmp_path / "data"), root, "gone-v0")
    assert minari.load_dataset("gone-v0").spec.env_spec is None


def test_single_frames_are_left_out_and_counted(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "data", episode(1), episode(3), episode(1))
    assert export_to_minari(Dataset(tmp_path / "data"), root, "drive-v0") == (1, 2)
    assert minari.load_dataset("drive-v0").total_steps == 2


@pytest.mark.parametrize("name", ["drive", "a b-v0", "../drive-v0", ""])
def test_a_name_that_minari_does_not_take_is_an_error(root: Path, tmp_path: Path, name: str) -> None:
    write(tmp_path / "data", episode(3))
    with pytest.raises(DatasetError, match=r"name is .* expected") as caught:
        export_to_minari(Dataset(tmp_path / "data"), root, name)
    assert caught.value.exit_code == 2
    assert not root.exists()


def test_what_is_there_is_not_written_over(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "data", episode(3))
    export_to_minari(Dataset(tmp_path / "data"), root, "drive-v0")
    with pytest.raises(DatasetError, match="drive-v0: is there already"):
        export_to_minari(Dataset(tmp_path / "data"), root, "drive-v0")


def test_an_export_that_fails_leaves_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data", episode(3))
    dataset = Dataset(tmp_path / "data")
    monkeypatch.setattr(dataset, "episodes", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_to_minari(dataset, root, "drive-v0")
    assert list(root.iterdir()) == []
