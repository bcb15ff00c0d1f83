"""Keys for sockets between machines: CURVE (ZeroMQ RFC 26) encrypts, and both sides know whom they speak with.

A key is 40 characters of Z85. `lapwing keys FOLDER --clients car` writes what each machine needs, and nothing else:

    FOLDER/server/secret.key          the server's own, for the machine of the learner or of the policy server
    FOLDER/server/clients/car.key     the public key of a client that may connect; without it, that client may not
    FOLDER/clients/car/secret.key     the client's own, for the machine of the car or of the actors
    FOLDER/clients/car/server.key     the server's public key; the client speaks with nobody else
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import tyro
import zmq
from rich.console import Console

SECRET, SERVER, CLIENTS = "secret.key", "server.key", "clients"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


class KeysError(ValueError):
    """A key is missing or damaged, or would have to be overwritten."""

    exit_code = 2


@dataclass(frozen=True)
class KeysConfig:
    """Write what is missing of these keys; those that are there stay as they are."""

    folder: tyro.conf.Positional[Path] = Path("keys")  # folder for all keys, to be kept where nobody else reads
    clients: tuple[str, ...] = ()  # names of machines that may connect, e.g. car


@dataclass(frozen=True)
class KeyPair:
    """Both in Z85; who knows the public key alone can lock a message but not open one."""

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """A pair that nobody has."""
        return cls(*zmq.curve_keypair())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The pair whose secret key is in that file. Raises KeysError."""
        secret = _read(path)
        return cls(zmq.curve_public(secret), secret)


@dataclass(frozen=True)
class ServerKeys:
    """What a socket that listens needs."""

    own: KeyPair
    clients: frozenset[bytes]  # public keys of those who may connect

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The keys in a folder `server` as `lapwing keys` writes it. Raises KeysError."""
        own = KeyPair.load(folder / SECRET)
        clients = frozenset(_read(path) for path in (folder / CLIENTS).glob("*.key"))
        if not clients:
            raise KeysError(f"{folder / CLIENTS} names nobody who may connect; see lapwing keys --clients")
        return cls(own, clients)


@dataclass(frozen=True)
class ClientKeys:
    """What a socket that connects needs."""

    own: KeyPair
    server: bytes  # public key

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The keys in a folder `clients/NAME` as `lapwing keys` writes it. Raises KeysError."""
        return cls(KeyPair.load(folder / SECRET), _read(folder / SERVER))


def write_keys(config: KeysConfig, console: Console) -> None:
    """Write keys for a server and its clients, and say where they belong. Raises KeysError."""
    if strange := [name for name in config.clients if not re.fullmatch(NAME, name)]:
        raise KeysError(f"client name {strange[0]!r} cannot be a file name; expected letters, digits, - and _")
    server, clients = config.folder / "server", config.folder / CLIENTS
    own = _pair(server / SECRET, known_by=clients.glob(f"*/{SERVER}"))
    console.print(f"{server}: for the machine that listens", soft_wrap=True)
    for name in config.clients:
        allowed = server / CLIENTS / f"{name}.key"
        client = _pair(clients / name / SECRET, known_by=[allowed])
        _keep(clients / name / SERVER, own.public)
        _keep(allowed, client.public)
        console.print(f"{clients / name}: for the machine {name}", soft_wrap=True)


def _pair(path: Path, known_by: Iterable[Path]) -> KeyPair:
    """The pair whose secret key is in that file; a new one if it is not, and nobody knows the old one."""
    if path.exists():
        return KeyPair.load(path)
    if others := [other for other in known_by if other.exists()]:
        raise KeysError(f"{path} is missing though {others[0]} is there; put it back, or remove that for new keys")
    pair = KeyPair.new()
    _write(path, pair.secret, mode=0o600)
    return pair


def _keep(path: Path, key: bytes) -> None:
    """Have that public key in that file. Raises KeysError if there is another."""
    if not path.exists():
        _write(path, key, mode=0o644)
    elif _read(path) != key:
        raise KeysError(f"{path} holds another key than expected; remove it to have it written anew")


def _read(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
        zmq.curve_public(key)  # of any key, to see that it is one
    except FileNotFoundError as error:
        raise KeysError(f"{path} is missing; expected a folder as `lapwing keys` writes it") from error
    except (ValueError, zmq.ZMQError) as error:
        raise KeysError(f"{path} is no key; expected 40 characters of Z85") from error
    return key


def _write(path: Path, key: bytes, mode: int) -> None:
    """Write a new file, whole or not at all, that at no time more people can read than the mode says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(key + b"\n")
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
