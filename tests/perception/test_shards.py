"""A shard gives back what was written; what is damaged is found, and what was cut off leaves the rest whole."""

import io
import zlib
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.dataset import Dataset
from perception.shard_file import Shard
from perception.shards import LABELS, DatasetError, Header, compress, decompress, labels_of, pack_episode, unpack
from tests.perception.drives import HEADER, HEIGHT, WIDTH, episode, same, write

FRAMES = (3, 1, 5, 2)
EPISODES = [episode(frames, seed) for seed, frames in enumerate(FRAMES)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, list[int]]:
    """A dataset of one shard, its bytes, and where each episode ends in them."""
    folder = tmp_path_factory.mktemp("written")
    ends = write(folder, *EPISODES)
    return folder, (folder / "shard-00000.arrow").read_bytes(), ends


def read(folder: Path) -> tuple[list[int], list[str]]:
    """Which of EPISODES are there, and what is said to be damaged."""
    try:
        dataset = Dataset(folder)
    except DatasetError as error:
        return [], [] if "was cut off" in str(error) else [str(error)]
    return [
        next(i for i, one in enumerate(EPISODES) if same(one, found)) for found in dataset.episodes()
    ], dataset.damage


@given(
    frames=st.integers(1, 4),
    seed=st.integers(0, 2**62),
    unknown=st.sets(st.sampled_from(["states", "labels", "rewards"])),
)
def test_an_episode_is_what_it_was(frames: int, seed: int, unknown: set[str]) -> None:
    whole = episode(frames, seed)
    given = episode(frames, seed, **{name: np.full_like(getattr(whole, name), np.nan) for name in unknown})
    assert same(unpack(pack_episode(7, given, HEADER), HEADER), given)


def test_frames_are_lossless_in_every_shape() -> None:
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (1, 9), (64, 64), (120, 160)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        header = Header("test", height, width)
        assert np.array_equal(decompress(compress(image, header), header), image)


def test_a_frame_is_a_png_whose_red_is_red() -> None:
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 255
    png = compress(red, HEADER)
    assert png.startswith(b"\x89PNG")
    assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[0, 0].tolist() == [0, 0, 255]  # BGR


@given(data=st.data())
def test_cut_at_any_byte_exactly_the_episodes_before_the_cut_are_there(
    written: tuple[Path, bytes, list[int]], data: st.DataObject
) -> None:
    folder, whole, ends = written
    near = [at + by for at in (0, *ends, len(whole)) for by in (-9, -8, -1, 0, 1, 8) if 0 <= at + by <= len(whole)]
    cut = data.draw(st.sampled_from(near) | st.integers(0, len(whole)))
    (folder / "shard-00000.arrow").write_bytes(whole[:cut])
    assert read(folder) == ([i for i, end in enumerate(ends) if end <= cut], [])


@given(data=st.data())
@settings(max_examples=200)
def test_of_any_changed_bit_either_nothing_depends_or_it_is_found(
    written: tuple[Path, bytes, list[int]], data: st.DataObject
) -> None:
    folder, whole, _ = written
    at, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    changed = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
    (folder / "shard-00000.arrow").write_bytes(changed)
    there, damage = read(folder)
    assert there == sorted(there)
    assert damage or there == [0, 1, 2, 3]
    assert all("shard-00000.arrow" in line and "\n" not in line for line in damage)


def test_a_damaged_episode_is_named_and_those_around_it_are_there(written: tuple[Path, bytes, list[int]]) -> None:
    folder, whole, ends = written
    at = whole.index(b"IDAT", ends[1]) + 6  # in the third episode, in the pixels of a frame
    (folder / "shard-00000.arrow").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    there, (line,) = read(folder)
    assert there == [0, 1, 3]
    assert f"shard-00000.arrow: the episode after episode 1 (byte {ends[1]}) is damaged" in line
    assert "checksum" in line


def test_a_damaged_length_is_not_taken_for_a_cut(written: tuple[Path, bytes, list[int]]) -> None:
    """With the end of the stream behind it, or only with other episodes, as where the writer was killed."""
    folder, whole, ends = written
    changed = bytearray(whole)
    changed[ends[0] + 6] = 0x7F  # the length of the second episode's header: 8 MB
    for content in (changed, changed[: ends[3]]):
        (folder / "shard-00000.arrow").write_bytes(content)
        there, (line,) = read(folder)
        assert there == [0]
        assert f"damaged after episode 0 (byte {ends[0]})" in line


def shard_of(tmp_path: Path, schema: pa.Schema) -> Path:
    path = tmp_path / "shard-00000.arrow"
    with pa.ipc.new_stream(str(path), schema):
        pass
    return path


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({}, "not a dataset of lapwing's"),
        ({"lapwing": "{"}, "damaged header"),
        ({"lapwing": '{"format": "lapwing-dataset/9"}'}, "'lapwing-dataset/9', expected 'lapwing-dataset/1'"),
        ({"lapwing": msgspec.json.encode(HEADER)}, "a column differs"),
    ],
)
def test_what_is_an_arrow_stream_but_no_shard_is_named(tmp_path: Path, metadata: dict, complaint: str) -> None:
    path = shard_of(tmp_path, pa.schema([("a", pa.int8())], metadata=metadata))
    with pytest.raises(DatasetError, match=rf"shard-00000\.arrow.*{complaint}") as caught:
        Shard(path)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_any_reader_of_arrow_reads_a_shard(written: tuple[Path, bytes, list[int]]) -> None:
    _, whole, _ = written
    table = pa.ipc.open_stream(io.BytesIO(whole)).read_all()
    rows = table.to_pylist()
    assert [row["episode"] for row in rows] == [0] * 3 + [1] + [2] * 5 + [3] * 2
    assert [row["frame"] for row in rows] == [0, 1, 2, 0, 0, 1, 2, 3, 4, 0, 1]
    assert rows[0]["action"] == EPISODES[0].actions[0].tolist()
    assert np.isnan(rows[2]["action"]).all()  # nothing follows
    assert [row["terminated"] for row in rows] == [i in (3, 10) for i in range(11)]  # the ends of episodes 1 and 3
    assert [row["truncated"] for row in rows] == [i in (2, 8) for i in range(11)]
    about = table.schema.metadata
    assert msgspec.json.decode(about[b"lapwing"])["settings"] == {"answer": 42}
    assert int(about[b"crc32"]) == zlib.crc32(about[b"lapwing"])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"images": np.zeros((3, 5, 4, 3), np.uint8)}, r"image is \(5, 4, 3\) uint8, expected \(4, 5, 3\) uint8"),
        ({"images": np.zeros((3, 4, 5, 1), np.uint8)}, r"image is \(4, 5, 1\)"),
        ({"images": np.zeros((3, 4, 5, 3), np.float32)}, "float32"),
        ({"states": np.full((3, 4), np.inf)}, "episode 7: state is infinite"),
        ({"labels": np.full((3, 6), -np.inf)}, "lateral_offset_m is infinite"),
        ({"states": np.zeros((2, 4))}, "state has 2 rows, expected 3"),
        ({"rewards": np.zeros(3)}, "reward has 4 rows, expected 3"),
        ({"actions": np.full((2, 2), 1.01)}, r"action is outside \[-1, 1\]"),
        ({"actions": np.full((2, 2), np.nan)}, "action is outside"),
    ],
)
def test_what_is_no_episode_is_not_written(changes: dict, complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint):
        pack_episode(7, episode(3, **changes), HEADER)


def test_labels_are_what_the_environment_tells_and_else_not_known() -> None:
    told = labels_of({"heading_error_rad": 0.5, "curvature_ahead_1pm": np.array([1.0, 2.0, 3.0]), "finished": True})
    known = {name: value for name, value in zip(LABELS, told, strict=True) if not np.isnan(value)}
    assert known == {
        "heading_error_rad": 0.5,
        "curvature_2m_1pm": 1.0,
        "curvature_5m_1pm": 2.0,
        "curvature_10m_1pm": 3.0,
    }
