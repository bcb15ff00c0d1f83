"""Keys: each machine gets what it needs and nothing more; what is there stays as it is."""

import io
import stat
from pathlib import Path

import pytest
import zmq
from rich.console import Console

from deploy.keys import ClientKeys, KeyPair, KeysConfig, KeysError, ServerKeys, write_keys


def write(folder: Path, *clients: str) -> None:
    write_keys(KeysConfig(folder, clients), Console(file=io.StringIO()))


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_each_machine_has_its_own_secret_and_the_others_public_keys(tmp_path):
    write(tmp_path, "car", "robot")
    server = ServerKeys.load(tmp_path / "server")
    car, robot = (ClientKeys.load(tmp_path / "clients" / name) for name in ("car", "robot"))
    assert server.clients == {car.own.public, robot.own.public}
    assert car.server == robot.server == server.own.public
    pairs = (server.own, car.own, robot.own)
    assert all(zmq.curve_public(pair.secret) == pair.public for pair in pairs)
    assert len({pair.secret for pair in pairs}) == 3
    assert set(files(tmp_path / "clients" / "car")) == {"secret.key", "server.key"}
    assert set(files(tmp_path / "server")) == {"secret.key", "clients/car.key", "clients/robot.key"}


def test_a_secret_is_in_one_file_alone_that_nobody_else_can_read(tmp_path):
    write(tmp_path, "car")
    for folder in ("server", "clients/car"):
        path = tmp_path / folder / "secret.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [name for name, text in files(tmp_path).items() if text == path.read_text()] == [f"{folder}/secret.key"]


def test_a_secret_is_not_shown_with_its_pair(tmp_path):
    write(tmp_path, "car")
    keys = ServerKeys.load(tmp_path / "server")
    assert keys.own.secret.decode() not in repr(keys)
    assert keys.own.public.decode() in repr(keys)


def test_a_client_that_is_added_later_leaves_the_rest_alone(tmp_path):
    write(tmp_path, "car")
    before = files(tmp_path)
    write(tmp_path, "car", "robot")
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {
        "clients/robot/secret.key",
        "clients/robot/server.key",
        "server/clients/robot.key",
    }
    assert len(ServerKeys.load(tmp_path / "server").clients) == 2


@pytest.mark.parametrize("name", ["clients/car/server.key", "server/clients/car.key"])
def test_a_public_key_that_is_missing_is_written_again(tmp_path, name):
    write(tmp_path, "car")
    before = files(tmp_path)
    (tmp_path / name).unlink()
    write(tmp_path, "car")
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["clients/car/secret.key", "server/secret.key"])
def test_a_secret_that_others_rely_on_is_not_made_anew(tmp_path, name):
    write(tmp_path, "car")
    (tmp_path / name).unlink()
    before = files(tmp_path)
    with pytest.raises(KeysError, match=f"{tmp_path / name} is missing though .* is there"):
        write(tmp_path, "car")
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["clients/car/server.key", "server/clients/car.key"])
def test_a_public_key_of_somebody_else_is_not_overwritten(tmp_path, name):
    write(tmp_path, "car")
    (tmp_path / name).write_bytes(zmq.curve_keypair()[0])
    before = files(tmp_path)
    with pytest.raises(KeysError, match=f"{tmp_path / name} holds another key"):
        write(tmp_path, "car")
    assert files(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"junk", b"#" * 40, b"\x00" * 40, b"\xff" * 41])
@pytest.mark.parametrize("name", ["server/secret.key", "server/clients/car.key"])
def test_a_file_that_holds_no_key_is_named(tmp_path, name, content):
    write(tmp_path, "car")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KeysError, match=f"{tmp_path / name} is no key"):
        ServerKeys.load(tmp_path / "server")


@pytest.mark.parametrize("name", ["secret.key", "server.key"])
def test_a_key_that_is_missing_is_named(tmp_path, name):
    write(tmp_path, "car")
    folder = tmp_path / "clients" / "car"
    (folder / name).unlink()
    with pytest.raises(KeysError, match=f"{folder / name} is missing"):
        ClientKeys.load(folder)


def test_a_server_that_nobody_may_connect_to_is_a_mistake(tmp_path):
    write(tmp_path)
    with pytest.raises(KeysError, match="names nobody who may connect"):
        ServerKeys.load(tmp_path / "server")


def test_a_client_is_locked_out_by_removing_its_public_key(tmp_path):
    write(tmp_path, "car", "robot")
    (tmp_path / "server" / "clients" / "car.key").unlink()
    assert ServerKeys.load(tmp_path / "server").clients == {
        KeyPair.load(tmp_path / "clients" / "robot" / "secret.key").public
    }
