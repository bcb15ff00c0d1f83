"""What commands are given to read, write or talk to: one line on what is wrong with it, and nothing half done."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from deploy.log.reader import read_log
from deploy.policy import OnnxPolicy
from deploy.policy_server.server import PolicyServer
from deploy.sockets import bind
from lapwing import main
from perception.dataset import Dataset
from perception.episodes import RecordConfig, record
from sim.window import Keys, Window
from tests.agent.runs import write_encoder, write_run
from tests.deploy.policies import SPEC, echo_policy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "episodes"
    record(RecordConfig(out=folder, frames=4))
    return folder


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return echo_policy(tmp_path_factory.mktemp("policy") / "policy.onnx")


def truncate(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


# -- files


def test_a_missing_dataset(complaint, tmp_path):
    assert str(tmp_path / "none") in complaint("pretrain", "--dataset", tmp_path / "none", "--out", tmp_path / "vae")
    assert not (tmp_path / "vae").exists()


@pytest.fixture
def damaged(dataset, tmp_path) -> Path:
    """A dataset one of whose bits has changed, in a frame of its only episode."""
    content = bytearray((dataset / "shard-00000.arrow").read_bytes())
    content[content.index(b"IDAT") + 6] ^= 1
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/shard-00000.arrow").write_bytes(content)
    return tmp_path / "damaged"


@pytest.mark.parametrize("strict", [["--strict"], []])
@pytest.mark.parametrize("command", ["pretrain", "train"])
def test_a_damaged_dataset(complaint, damaged, tmp_path, command, strict):
    data = ("--dataset", damaged)
    if command == "train":
        data = ("--episodes", damaged, "--encoder", write_encoder(tmp_path / "vae.safetensors"))
    said = complaint(command, *data, *strict, "--out", tmp_path / "out")
    assert str(damaged / "shard-00000.arrow") in said
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_was_cut_off_before_its_first_episode_ended(complaint, dataset, tmp_path):
    (tmp_path / "cut").mkdir()
    (path := tmp_path / "cut/shard-00000.arrow").write_bytes((dataset / path.name).read_bytes())
    truncate(path)
    assert path.name in complaint("pretrain", "--dataset", tmp_path / "cut", "--out", tmp_path / "vae")


def test_a_dataset_is_looked_at_and_checked(dataset, damaged, capsys, complaint):
    assert main(["dataset", "info", str(dataset)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^frames +4 of 64 × 64 pixels", said, re.MULTILINE)
    assert "curvature_10m_1pm" in said
    assert "sim:LaneFollowing-v0" in said
    assert main(["dataset", "check", str(dataset)]) == 0
    assert "1 episodes are whole, 0 places are damaged" in capsys.readouterr().out
    assert "shard-00000.arrow" in complaint("dataset", "check", damaged)


def test_a_check_of_what_is_partly_damaged_ends_with_1(tmp_path, capsys):
    record(RecordConfig(out=tmp_path, frames=8, episode_frames=4))
    content = bytearray((tmp_path / "shard-00000.arrow").read_bytes())
    content[content.index(b"IDAT") + 6] ^= 1
    (tmp_path / "shard-00000.arrow").write_bytes(content)
    assert main(["dataset", "check", str(tmp_path)]) == 1
    assert "1 episodes are whole, 1 places are damaged" in capsys.readouterr().out


def test_a_tub_and_a_folder_to_export_that_are_none(complaint, tmp_path):
    assert "manifest.json" in complaint("dataset", "import", tmp_path / "tub", "--out", tmp_path / "out")
    assert "none" in complaint("dataset", "export", tmp_path / "none", "--out", tmp_path / "minari")
    assert not (tmp_path / "minari").exists()


@pytest.mark.parametrize("content", [None, b"", b"junk"])
def test_a_missing_or_damaged_vae(complaint, tmp_path, content):
    path = tmp_path / "vae.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in complaint("train", "--encoder", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_truncated_vae(complaint, tmp_path):
    path = truncate(write_encoder(tmp_path / "vae.safetensors"))
    assert str(path) in complaint("train", "--encoder", path, "--out", tmp_path / "out")


@pytest.mark.parametrize("command", ["evaluate", "export"])
@pytest.mark.parametrize("name", ["actor.safetensors", "vae.safetensors"])
def test_a_missing_or_truncated_checkpoint(complaint, tmp_path, command, name):
    run, out = write_run(tmp_path / "train"), tmp_path / "out"
    truncate(run / name)
    assert str(run / name) in complaint(command, "--run", run, "--out", out)
    (run / name).unlink()
    assert str(run / name) in complaint(command, "--run", run, "--out", out)
    assert not out.exists()


def test_a_missing_list_of_episodes(complaint, tmp_path):
    run = write_run(tmp_path / "train")
    (run / "episodes.csv").unlink()
    assert "episodes.csv" in complaint("evaluate", "--run", run, "--out", tmp_path / "out")


def test_a_report_of_nothing(complaint, tmp_path):
    assert str(tmp_path) in complaint("report", "--run", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_onnx_file(complaint, tmp_path):
    assert "none.onnx" in complaint("serve", "--policy", tmp_path / "none.onnx")


def test_a_truncated_onnx_file(complaint, policy, tmp_path):
    (path := tmp_path / "policy.onnx").write_bytes(policy.read_bytes())
    assert str(truncate(path)) in complaint("serve", "--policy", path)


# -- addresses


def test_a_port_already_in_use(complaint, policy):
    with zmq.Context() as context, closing(bind(context, zmq.ROUTER, "tcp://127.0.0.1:0")) as first:
        taken = first.getsockopt_string(zmq.LAST_ENDPOINT)
        said = complaint("serve", "--policy", policy, "--bind", taken)
    assert taken in said
    assert "in use" in said


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:5590", "tcp://*:5590", "tcp://192.168.1.2:5590"])
def test_an_address_beyond_loopback(complaint, policy, address):
    assert address in complaint("serve", "--policy", policy, "--bind", address)


def test_an_address_that_is_none(complaint):
    assert "nonsense" in complaint("drive", "--server", "nonsense")


def test_what_a_person_drives_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    frames = iter(range(12))  # of 0.1 s each

    def keys(window) -> Keys:
        return Keys(held=frozenset({"up"}), pressed=frozenset({"q"} if next(frames, None) is None else ()))

    monkeypatch.setattr(Window, "keys", property(keys, lambda *_: None), raising=False)
    assert main(["play", "--record", str(tmp_path / "human"), "--vehicle", "donkey"]) == 0
    dataset = Dataset(tmp_path / "human", strict=True)
    assert dataset.header.source == "play"
    assert dataset.header.settings["vehicle"] == "donkey"
    (episode,) = dataset.episodes()
    assert not np.isnan(episode.labels).any()
    assert np.diff(episode.actions[:, 1]) == pytest.approx(0.1)  # up for a period of 0.1 s each
    assert episode.rewards.sum() > 0


def test_a_served_drive_is_recorded(policy, tmp_path):
    address, out = f"ipc://{tmp_path}/s", tmp_path / "drive"
    with served(OnnxPolicy.load(policy), address):
        options = ["--server", address, "--out", str(out), "--no-video", "--time-limit-s", "0.5"]
        assert main(["drive", *options, "--record", str(tmp_path / "data")]) == 1  # the route is longer
    log = read_log(out / "drive.mcap")
    dataset = Dataset(tmp_path / "data", strict=True)
    assert dataset.header.source == "drive"
    speeds_mps = dict.fromkeys(np.float32(entry.speed_mps) for entry in log)
    assert set(dataset.column("state")[:, 0]) <= set(speeds_mps)
    assert 1 < len(dataset) <= len(log)


def test_nobody_serves(complaint, tmp_path):
    arguments = ("--server", f"ipc://{tmp_path}/nobody", "--hello-s", "0.1", "--out", tmp_path / "drive")
    assert "lapwing serve" in complaint("drive", *arguments)
    assert not (tmp_path / "drive").exists()


# -- keys


def test_keys_are_written_where_the_command_says(tmp_path, capsys):
    assert main(["keys", str(tmp_path / "keys"), "--clients", "car", "robot"]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^(\S+): for the machine", said, re.MULTILINE) == [
        str(tmp_path / "keys" / folder) for folder in ("server", "clients/car", "clients/robot")
    ]


@pytest.mark.parametrize("name", ["../car", "", "a/b", ".", "a b"])
def test_a_client_that_cannot_be_a_folder(complaint, tmp_path, name):
    assert repr(name) in complaint("keys", tmp_path / "keys", "--clients", name)
    assert not (tmp_path / "keys").exists()


# -- policy and vehicle


@contextmanager
def served(policy: OnnxPolicy, address: str) -> Iterator[None]:
    """The policy behind a real socket, in a thread."""
    over = threading.Event()
    with zmq.Context() as context, closing(bind(context, zmq.ROUTER, address, queue=64)) as socket:

        def turns() -> None:
            server = PolicyServer(policy, socket)
            while not over.is_set():
                if socket.poll(20):
                    server.turn()

        thread = threading.Thread(target=turns)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    ("field", "value"), [("top_speed_mps", 5.0), ("max_steering_rad", 0.3), ("image_height", 32), ("image_width", 128)]
)
def test_a_policy_that_was_trained_for_another_vehicle(complaint, tmp_path, field, value):
    spec = msgspec.structs.replace(SPEC, **{field: value})
    path = echo_policy(tmp_path / "p.onnx", spec, image=(spec.image_height, spec.image_width, 3))
    address = f"ipc://{tmp_path}/s"
    with served(OnnxPolicy.load(path), address):
        said = complaint("drive", "--server", address, "--out", tmp_path / "drive", "--no-video")
    assert field in said
    assert f"{value:g}" in said
    assert not (tmp_path / "drive").exists()


# -- folders


def test_a_folder_that_cannot_be_written(complaint, tmp_path):
    (tmp_path / "file").touch()
    assert "file" in complaint("record", "--frames", 10, "--out", tmp_path / "file" / "episodes")
