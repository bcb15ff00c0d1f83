"""A donkeycar tub becomes a dataset: frames, steering to our sign, throttle to our set-point; what it lacks is NaN."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lapwing import main
from perception.dataset import Dataset
from perception.donkeycar import Frames, executed_action, read_records
from perception.shards import DatasetError

WRITE = """
import sys, numpy as np
from donkeycar.parts.tub_v2 import Tub
inputs = ["cam/image_array", "user/angle", "user/throttle", "user/mode"]
tub = Tub(sys.argv[1], inputs=inputs, types=["image_array", "float", "float", "str"], max_catalog_len=10)
for i in range(25):
    image = np.full((120, 160, 3), (10 * i, 0, 255 - 10 * i), np.uint8)
    values = [image, -1 + i / 12, i / 24, "user"]
    tub.write_record(dict(zip(inputs, values)))
tub.delete_records({12})
tub.close()
"""


def write_tub(folder: Path, count: int = 6, deleted: tuple[int, ...] = (), **changes: list) -> Path:
    """Exactly what donkeycar 5.3 writes: two catalogs, pictures that get redder and bluer below, a record each 50 ms.

    changes: a field to a list of its values in the records; None leaves it out.
    """
    (folder / "images").mkdir(parents=True)
    names = ["catalog_0.catalog", "catalog_1.catalog"]
    metadata = {"paths": names, "current_index": count, "max_len": 4, "deleted_indexes": list(deleted)}
    fields = ["cam/image_array", "user/angle", "user/throttle", "user/mode"]
    lines = [fields, ["image_array", "float", "float", "str"], {}, {"created_at": 1.7e9}, metadata]
    (folder / "manifest.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = []
    for i in range(count):
        image = np.zeros((120, 160, 3), np.uint8)
        image[60:, :, 2], image[:60, :, 0] = 40 * i, 255  # BGR: red below, blue above
        cv2.imwrite(str(folder / f"images/{i}_cam_image_array_.jpg"), image)
        record = {"_index": i, "_session_id": "24-01-31_0", "_timestamp_ms": 1_700_000_000_000 + 50 * i}
        record |= {"cam/image_array": f"{i}_cam_image_array_.jpg"}
        record |= {"user/angle": i / 10, "user/throttle": i / 5, "user/mode": "user"}
        record |= {name: values[i] for name, values in changes.items()}
        records.append(json.dumps({name: value for name, value in record.items() if value is not None}, sort_keys=True))
    for name, part in zip(names, (records[:4], records[4:]), strict=True):
        (folder / name).write_text("".join(record + "\n" for record in part))
    return folder


def imported(tub: Path, *options: str) -> Dataset:
    out = tub.parent / "dataset"
    assert main(["dataset", "import", str(tub), "--out", str(out), *options]) == 0
    return Dataset(out, strict=True)


def test_steering_is_left_positive_and_throttle_a_set_point_from_standing_still(tmp_path: Path) -> None:
    dataset = imported(write_tub(tmp_path / "tub"), "--max-steering-rad", "0.5")
    (episode,) = dataset.episodes()
    assert episode.actions == pytest.approx(np.array([[0, -1], [-0.1, -0.6], [-0.2, -0.2], [-0.3, 0.2], [-0.4, 0.6]]))
    assert episode.states[0, 1:].tolist() == [0.0, 0.0, -1.0]
    assert episode.states[1:, 2:] == pytest.approx(episode.actions)  # executed since the frame before
    assert episode.states[1:, 1] == pytest.approx(0.5 * episode.actions[:, 0])
    assert dataset.header.source == "donkeycar"


def test_what_a_tub_lacks_is_not_known(tmp_path: Path) -> None:
    (episode,) = imported(write_tub(tmp_path / "tub")).episodes()
    assert np.isnan(episode.labels).all()
    assert np.isnan(episode.rewards).all()
    assert np.isnan(episode.states[:, 0]).all()
    assert not episode.terminated


def test_frames_are_cropped_and_shrunk_to_the_size_asked_for(tmp_path: Path) -> None:
    size = ["--frames.height-px", "30", "--frames.width-px", "48"]
    (whole,) = imported(write_tub(tmp_path / "whole/tub"), *size).episodes()
    (below,) = imported(write_tub(tmp_path / "below/tub"), *size, "--frames.crop-top", "0.5").episodes()
    assert whole.images.shape == below.images.shape == (6, 30, 48, 3)
    blue, red = np.array([0, 0, 255]), np.array([200, 0, 0])
    assert np.abs(whole.images[5, :13] - blue).max() < 12  # JPEG
    assert np.abs(whole.images[5, 17:] - red).max() < 12
    assert np.abs(below.images[5, 2:] - red).max() < 12


@pytest.mark.parametrize(
    ("changes", "lengths"),
    [
        ({}, [6]),
        ({"deleted": (2,)}, [2, 3]),
        ({"_timestamp_ms": [0, 50, 100, 700, 750, 800]}, [3, 3]),  # recording paused for 0.6 s
        ({"_session_id": ["a", "a", "b", "b", "b", "b"]}, [2, 4]),
    ],
)
def test_an_episode_ends_where_something_is_missing(tmp_path: Path, changes: dict, lengths: list[int]) -> None:
    assert imported(write_tub(tmp_path / "tub", **changes)).lengths.tolist() == lengths


@pytest.mark.parametrize(
    ("record", "action"),
    [
        ({"user/angle": 1.0, "user/throttle": 0.5}, [-1.0, 0.0]),
        ({"user/angle": -1.5, "user/throttle": -0.7}, [1.0, -1.0]),  # driving back is standing still
        ({"user/angle": 0.0, "user/throttle": 2.0}, [0.0, 1.0]),
        ({"user/mode": "local", "pilot/angle": 0.25, "pilot/throttle": 1.0}, [-0.25, 1.0]),
        ({"user/mode": "local_angle", "pilot/angle": 0.25, "pilot/throttle": 1.0, "user/throttle": 0.5}, [-0.25, 0.0]),
        ({"user/mode": "local", "user/angle": 0.5, "user/throttle": 1.0}, [-0.5, 1.0]),  # the pilot was not recorded
        ({"user/mode": "user", "user/angle": 0.5, "user/throttle": 1.0, "pilot/angle": 0.25}, [-0.5, 1.0]),
    ],
)
def test_the_action_is_what_drove_the_car(record: dict, action: list[float]) -> None:
    assert executed_action({"user/angle": 9.9, "user/throttle": 9.9} | record).tolist() == pytest.approx(action)


def test_a_picture_that_cannot_be_read_is_left_out_or_strictly_an_error(tmp_path, capsys, caplog) -> None:
    tub = write_tub(tmp_path / "tub")
    (picture := tub / "images/2_cam_image_array_.jpg").write_bytes(b"no picture")
    assert main(["dataset", "import", str(tub), "--out", str(tmp_path / "strict"), "--strict"]) == 2
    assert str(picture) in capsys.readouterr().err
    assert imported(tub).lengths.tolist() == [2, 3]
    assert str(picture) in caplog.text


def test_the_last_line_may_be_unfinished(tmp_path: Path) -> None:
    tub = write_tub(tmp_path / "tub")
    path = tub / "catalog_1.catalog"
    path.write_bytes(path.read_bytes()[:-30])
    assert imported(tub).lengths.tolist() == [5]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda tub: (tub / "manifest.json").unlink(), "no donkeycar tub"),
        (lambda tub: (tub / "manifest.json").write_text("[]\n"), "is not the manifest"),
        (lambda tub: (tub / "manifest.json").write_text("[]\n[]\n{}\n{}\n[]\n"), "is not the manifest"),
        (lambda tub: (tub / "catalog_1.catalog").unlink(), r"catalog_1\.catalog: is missing"),
        (lambda tub: (tub / "catalog_0.catalog").write_text("{\n{}\n"), r"catalog_0\.catalog: line 1: is not a record"),
    ],
)
def test_what_is_no_tub_is_named(tmp_path: Path, spoil, complaint: str) -> None:
    tub = write_tub(tmp_path / "tub")
    spoil(tub)
    with pytest.raises(DatasetError, match=complaint):
        list(read_records(tub))


@pytest.mark.parametrize(("field", "value"), [("user/angle", None), ("user/throttle", "fast"), ("_index", None)])
def test_a_field_that_is_missing_or_no_number_is_named(tmp_path: Path, capsys, field: str, value: object) -> None:
    tub = write_tub(tmp_path / "tub", **{field: [0, value, 0, 0, 0, 0]})
    assert main(["dataset", "import", str(tub), "--out", str(tmp_path / "out")]) == 2
    assert f"line 2: {field} is {value!r}" in capsys.readouterr().err


def test_pictures_come_from_the_tub_alone(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "secret.jpg"), np.zeros((8, 8, 3), np.uint8))
    names = ["../../secret.jpg", *(f"{i}_cam_image_array_.jpg" for i in range(1, 6))]
    assert imported(write_tub(tmp_path / "tub", **{"cam/image_array": names})).lengths.tolist() == [5]


def test_a_crop_must_leave_something() -> None:
    with pytest.raises(DatasetError, match=r"crop_top is 1, expected 0 or more and less than 1"):
        Frames(crop_top=1.0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_tub_that_donkeycar_wrote(tmp_path: Path) -> None:
    """In an environment of its own: donkeycar wants an older numpy than ours."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([venv / "bin/pip", "install", "--quiet", "donkeycar==5.3.0"], check=True)
    subprocess.run([venv / "bin/python", "-c", WRITE, tmp_path / "tub"], check=True, cwd=tmp_path)
    first, second = imported(tmp_path / "tub").episodes()
    assert (len(first.images), len(second.images)) == (12, 12)  # record 12 was deleted
    assert first.actions[:, 0] == pytest.approx([1 - i / 12 for i in range(11)])
    assert second.actions[:, 1] == pytest.approx([2 * i / 24 - 1 for i in range(13, 24)])
    colours = np.array([[10 * i, 0, 255 - 10 * i] for i in (*range(12), *range(13, 25))])
    found = np.concatenate([first.images, second.images])[:, 32, 32]
    assert np.abs(found - colours).max() < 8  # JPEG
