"""A dataset is written episode by episode and read in any order, and says what it cannot read."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.dataset import Dataset, EpisodeWriter
from perception.files import FolderInUseError
from perception.shards import DatasetError, Header
from tests.perception.drives import HEADER, HEIGHT, WIDTH, episode, same, write
from tests.refusal import import_without

ROOT = Path(__file__).parents[2]
EPISODES = [episode(frames, seed) for seed, frames in enumerate((3, 1, 5, 2, 4))]
WITHOUT = import_without(
    {"torch", "gymnasium", "pybullet", "sim", "agent", "deploy"},
    *("perception.dataset", "perception.recorder", "perception.donkeycar"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """EPISODES, in shards of two or so."""
    write(tmp_path / "dataset", *EPISODES, shard_bytes=4000)
    return tmp_path / "dataset"


def shards(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 1
    path.write_bytes(content)


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), shard_bytes=st.integers(1, 10_000))
def test_what_is_written_is_read_in_the_same_order_however_it_is_sharded(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], shard_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    episodes = [episode(frames, seed) for seed, frames in enumerate(sizes)]
    write(folder, *episodes, shard_bytes=shard_bytes)
    dataset = Dataset(folder, strict=True)
    assert len(dataset) == sum(sizes)
    assert dataset.lengths.tolist() == sizes
    assert all(same(a, b) for a, b in zip(dataset.episodes(), episodes, strict=True))
    assert dataset.header == HEADER


def test_shards_roll_over_and_each_is_readable_alone(folder: Path, tmp_path: Path) -> None:
    assert len(shards(folder)) > 1
    lone = tmp_path / "lone"
    lone.mkdir()
    shards(folder)[-1].rename(lone / "shard-00003.arrow")
    assert same(list(Dataset(lone).episodes())[-1], EPISODES[-1])


def test_any_frame_and_any_episode_can_be_asked_for(folder: Path) -> None:
    dataset = Dataset(folder)
    images = np.concatenate([one.images for one in EPISODES])
    assert all(np.array_equal(dataset.frame(i), images[i]) for i in (14, 0, 3, 2, 4, 9))
    assert same(dataset.episode(2), EPISODES[2])
    assert np.array_equal(dataset.frames(), images)
    for i in (-1, 15):
        with pytest.raises(IndexError):
            dataset.frame(i)


def test_columns_are_read_without_the_images(folder: Path) -> None:
    dataset = Dataset(folder)
    assert np.array_equal(dataset.column("state"), np.concatenate([one.states for one in EPISODES]))
    offset_and_heading = np.concatenate([one.labels[:, :2] for one in EPISODES])
    assert np.array_equal(dataset.column("lateral_offset_m", "heading_error_rad"), offset_and_heading)
    assert np.flatnonzero(np.isnan(dataset.column("reward"))).tolist() == [2, 3, 8, 10, 14]  # the ends of episodes


def test_the_shuffled_stream_has_every_frame_once_in_an_order_that_the_seed_decides(folder: Path) -> None:
    dataset, images = Dataset(folder), np.concatenate([one.images for one in EPISODES])
    order = [i for i, _ in dataset.shuffled(np.random.default_rng(0))]
    assert sorted(order) == list(range(15))
    assert order != sorted(order)
    for (i, image), again in zip(dataset.shuffled(np.random.default_rng(0)), order, strict=True):
        assert i == again
        assert np.array_equal(image, images[i])


def test_a_new_dataset_replaces_the_old_one_and_an_addition_does_not(folder: Path) -> None:
    write(folder, episode(2, 9), add=True)
    dataset = Dataset(folder)
    assert dataset.lengths.tolist() == [3, 1, 5, 2, 4, 2]
    assert dataset.column("episode").tolist() == [0] * 3 + [1] + [2] * 5 + [3] * 2 + [4] * 4 + [5] * 2
    write(folder, episode(4))
    assert Dataset(folder).lengths.tolist() == [4]


def test_images_of_another_size_are_not_added(folder: Path) -> None:
    before = [path.read_bytes() for path in shards(folder)]
    with (
        pytest.raises(DatasetError, match=r"shard-00000.*\(4, 5\).*\(8, 8\)"),
        EpisodeWriter(folder, Header("test", 8, 8), add=True),
    ):
        pytest.fail("it was let in")
    assert [path.read_bytes() for path in shards(folder)] == before


def test_shards_of_different_sizes_are_no_dataset(folder: Path, tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path / "other", Header("test", 8, 8)) as writer:
        writer.append(episode(2, images=np.zeros((2, 8, 8, 3), np.uint8)))
    (tmp_path / "other/shard-00000.arrow").rename(folder / "shard-00009.arrow")
    with pytest.raises(DatasetError, match=r"shard-00009.*\(8, 8\).*\(4, 5\)"):
        Dataset(folder)


def test_one_writer_at_a_time(folder: Path) -> None:
    with EpisodeWriter(folder, HEADER, add=True), pytest.raises(FolderInUseError, match=str(folder)):
        write(folder, episode(2))
    assert len(Dataset(folder).lengths) == len(EPISODES)


def test_a_full_disk_leaves_the_episodes_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EpisodeWriter(folder, HEADER) as writer:
        writer.append(EPISODES[0])

        class Full:
            """Writes half and then no more."""

            def __init__(self, file) -> None:
                self.file, self.left = file, 100

            def write(self, content: memoryview) -> int:
                if self.left == 0:
                    raise OSError(28, "No space left on device")
                self.left -= (count := self.file.write(content[: self.left]))
                return count

            def __getattr__(self, name: str):
                return getattr(self.file, name)

        file = writer._file
        monkeypatch.setattr(writer, "_file", Full(file))
        with pytest.raises(OSError, match="No space"):
            writer.append(EPISODES[2])
        monkeypatch.setattr(writer, "_file", file)
        writer.append(EPISODES[3])
    dataset = Dataset(folder, strict=True)
    assert dataset.lengths.tolist() == [3, 2]
    assert not dataset.shards[0].unfinished


def test_damage_is_said_and_left_out_or_strictly_an_error(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(shards(folder)[0])
    with caplog.at_level(logging.WARNING):
        dataset = Dataset(folder)
    assert dataset.lengths.tolist() == [1, 5, 2, 4]
    (said,) = [record.message for record in caplog.records]
    assert "shard-00000.arrow: the episode after the header" in said
    with pytest.raises(DatasetError, match=r"shard-00000\.arrow.*damaged"):
        Dataset(folder, strict=True)


def test_a_shard_of_junk_is_named_and_the_others_are_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "shard-00007.arrow").write_bytes(b"junk" * 100)
    assert len(Dataset(folder).lengths) == len(EPISODES)
    assert "shard-00007.arrow" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff\xff"])
def test_no_whole_episode_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shard-00000.arrow").write_bytes(content)
    with pytest.raises(DatasetError, match=r"no whole episode.*shard-00000\.arrow was cut off"):
        Dataset(tmp_path)


def test_an_empty_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no whole episode; write some with `lapwing record`") as caught:
        Dataset(tmp_path)
    assert caught.value.exit_code == 2
    with pytest.raises(DatasetError, match=r"nowhere.*lapwing record"):
        Dataset(tmp_path / "nowhere")


def test_a_folder_of_the_older_format_and_one_with_other_things_are_named_and_left_alone(tmp_path: Path) -> None:
    for name, complaint in (("dataset.json", "older format"), ("thesis.txt", "not part of a dataset")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("five years")
        with pytest.raises(DatasetError, match=rf"{name}: .*{complaint}"):
            Dataset(folder)
        with pytest.raises(DatasetError, match=complaint):
            write(folder, episode(2))
        assert [path.name for path in folder.iterdir()] == [name]


def test_the_files_are_mapped_not_loaded(folder: Path) -> None:
    """What is read of a shard is the file itself: it shows a change made after it was opened."""
    dataset = Dataset(folder)
    path = shards(folder)[0]
    content = path.read_bytes()
    at = content.index(np.float32(EPISODES[0].states[0, 0]).tobytes())
    with path.open("r+b") as file:
        file.seek(at)
        file.write(np.float32(7.25).tobytes())
    assert dataset.column("state")[0, 0] == 7.25


def test_it_needs_neither_torch_nor_gymnasium() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, check=True)


def test_sizes_are_what_the_drives_say() -> None:
    assert HEADER.size == (HEIGHT, WIDTH)
