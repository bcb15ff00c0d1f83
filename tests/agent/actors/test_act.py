"""`lapwing act`: actors that share nothing with the learner but an address, a key and three files."""

import io
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq
from rich.console import Console

from agent.line.channel import ActorEnd, LearnerEnd, local_addresses
from agent.training.jobs import farewell
from deploy.keys import KeysConfig, write_keys
from deploy.wire import Weights
from lapwing import main
from tests.agent.processes import driven, free_port, lapwing, training, until, until_it_says, workers_of
from tests.agent.worlds import GATE, SLOW_LANE


@pytest.fixture
def gate(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(GATE, str(tmp_path / "gate"))
    return tmp_path / "gate"


def free_address() -> str:
    """An address whose port, and the next one, nobody listens at."""
    return f"tcp://127.0.0.1:{free_port(20_000)}"


def keys(folder: Path, *clients: str) -> Path:
    write_keys(KeysConfig(folder, clients), Console(file=io.StringIO()))
    return folder


def copy_of(run: Path, to: Path, process: subprocess.Popen) -> Path:
    """What another machine has of a run."""
    until((run / "vae.onnx").exists, process)
    to.mkdir()
    for name in ("config.json", "facts.json", "vae.onnx"):
        shutil.copyfile(run / name, to / name)
    return to


@contextmanager
def acting(run: Path, address: str, keys: Path, *more: str) -> Iterator[subprocess.Popen]:
    """`lapwing act` in a process group of its own."""
    with lapwing("act", "--run", str(run), "--learner", address, "--keys", str(keys), *more) as process:
        yield process


@pytest.mark.slow
def test_actors_of_another_machine_drive_until_the_learner_says_that_training_is_over(encoder, dataset, tmp_path, gate):
    out, address, secret = tmp_path / "out", free_address(), keys(tmp_path / "keys", "far")
    options = ["--env", SLOW_LANE, "--max-episodes", "15", "--listen", address, "--keys", str(secret / "server")]

    def rows_of(actor: str) -> int:
        return sum(row["actor"] == actor for row in driven(out))

    with training(encoder, dataset, out, *options) as process:
        run = copy_of(out, tmp_path / "copy", process)
        with acting(run, address, secret / "clients" / "far") as far:
            until(lambda: {row["actor"] for row in driven(out)} == {"0", "1"}, process, far)
            (actor,) = workers_of(far)
            os.kill(actor, signal.SIGKILL)
            until_it_says(far, "actor 1 died and is started anew")
            until_it_says(far, "actor 1 hears the learner")
            rows = rows_of("1")
            until(lambda: rows_of("1") > rows, process, far)
            os.kill(workers_of(process)[0], signal.SIGKILL)
            until_it_says(process, "the learner died and is started anew")
            rows = len(driven(out))
            until(lambda: len(driven(out)) > rows, process, far)
            gate.touch()
            said, err = far.communicate(timeout=100)
            assert (far.returncode, said.splitlines()[-1]) == (0, "training is over"), err
        assert process.wait(timeout=100) == 1, process.stderr.read()  # out of episodes
    assert {row["actor"] for row in driven(out) if row["kind"] == "test"} == {"0"}


@pytest.mark.slow
def test_actors_without_a_key_that_is_allowed_contribute_nothing_and_do_no_harm(encoder, dataset, tmp_path, gate):
    out, address, secret = tmp_path / "out", free_address(), keys(tmp_path / "keys", "far")
    foreign = keys(tmp_path / "foreign", "far")
    shutil.copyfile(secret / "clients" / "far" / "server.key", foreign / "clients" / "far" / "server.key")
    options = ["--env", SLOW_LANE, "--listen", address, "--keys", str(secret / "server")]
    with training(encoder, dataset, out, *options) as process:
        run = copy_of(out, tmp_path / "copy", process)
        with acting(run, address, foreign / "clients" / "far", "--first", "7") as stranger:
            until(lambda: len(driven(out)) > 0, process, stranger)
            before = workers_of(process)
            until_it_says(stranger, "actor 7 hears nothing of the learner")
            rows = len(driven(out))
            until(lambda: len(driven(out)) > rows, process, stranger)
            os.killpg(stranger.pid, signal.SIGINT)  # as Ctrl-C does
            assert stranger.communicate(timeout=30)[1].splitlines()[-1] == "lapwing act: interrupted"
            assert stranger.returncode == 130
        assert workers_of(process) == before
    assert {row["actor"] for row in driven(out)} == {"0"}


class LastWords:
    """A learner whose training is over, with its last weights still on their way."""

    def __init__(self, line: LearnerEnd) -> None:
        self.line, self.version = line, 0

    def stop(self) -> None:
        self.publish(stop=True)

    def publish(self, stop: bool = False) -> None:
        self.version += 1
        header = Weights(version=self.version, updates=0, transitions=0, episodes=0, due=0, stop=stop)
        self.line.publish(header, np.zeros(250_000, np.float32))


def test_the_end_of_training_reaches_actors_though_weights_are_still_on_their_way(socket_folder):
    addresses = local_addresses(str(socket_folder))
    with zmq.Context() as context:
        learner, actor = LearnerEnd(context, addresses), ActorEnd(context, addresses)
        last = LastWords(learner)
        while not actor.newest_weights(10):
            last.publish()
        for _ in range(20):
            last.publish()
        farewell(last)
        learner.close()
        heard = actor.newest_weights(1000)
        while heard and not heard[0].stop:
            heard = actor.newest_weights(1000)
        actor.close()
    assert heard is not None


@pytest.fixture
def copy(tmp_path) -> Path:
    """What another machine has of a run with two actors of its own, which is all that is needed to find mistakes."""
    from msgspec import json

    from agent.training.config import TrainConfig
    from tests.agent.fakes import FACTS

    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "config.json").write_bytes(json.encode(TrainConfig(actors=2), enc_hook=str))
    (tmp_path / "copy" / "facts.json").write_bytes(json.encode(FACTS))
    (tmp_path / "copy" / "vae.onnx").touch()
    return tmp_path / "copy"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--learner", "tcp://127.0.0.1:5600", "--first", "1"], "first is 1; expected at least 2"),
        (["--learner", "tcp://127.0.0.1:5600", "--actors", "0"], "actors is 0"),
        (["--learner", "tcp://127.0.0.1:65535"], "PORT up to 65534"),
        (["--learner", "ipc:///tmp/learner"], "expected tcp://HOST:PORT"),
        (["--learner", "tcp://127.0.0.1:5600", "--keys", "nowhere"], "nowhere/secret.key is missing"),
        ([], "--learner"),
    ],
)
def test_mistakes_are_told_in_one_line(copy, capsys, options, said):
    assert main(["act", "--run", str(copy), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("name", "content"), [("facts.json", b"{}"), ("config.json", b"[]"), ("vae.onnx", None)])
def test_a_copy_that_lacks_something_is_named(copy, capsys, name, content):
    (copy / name).unlink()
    if content:
        (copy / name).write_bytes(content)
    assert main(["act", "--run", str(copy), "--learner", "tcp://127.0.0.1:5600"]) == 2
    assert f"{copy}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "tcp://0.0.0.0:5600"], "only tcp://127.0.0.1:PORT is allowed without keys"),
        (["--listen", "tcp://127.0.0.1:99999"], "PORT up to 65534"),
        (["--listen", "tcp://127.0.0.1:5600", "--keys", "nowhere"], "nowhere/secret.key is missing"),
        (["--keys", "keys/server"], "expected --listen"),
        (["--address", "auto"], "expected --launcher ray"),
        (["--sync", "--listen", "tcp://127.0.0.1:5600"], "sync is for one process"),
        (["--launcher", "ray", "--address", "127.0.0.1:1"], "127.0.0.1:1: no Ray cluster there"),
    ],
)
def test_a_learner_that_no_actor_could_come_to_is_told_before_anything_is_written(
    encoder, dataset, tmp_path, capsys, options, said
):
    out = tmp_path / "out"
    assert main(["train", "--encoder", str(encoder), "--episodes", str(dataset), "--out", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not out.exists()
