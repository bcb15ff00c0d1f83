"""Where a run's learner and its actors meet, and the keys by which they know each other."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

import zmq

from agent.line.channel import Addresses, LearnerEnd, local_addresses
from deploy.keys import ClientKeys, KeyPair, ServerKeys
from deploy.sockets import AddressError

EVERYWHERE = ("0.0.0.0", "*")  # hosts to listen at all addresses of a machine


@dataclass(frozen=True)
class Rendezvous:
    """Both sides of it: the learner's, and that of the actors which the run starts itself."""

    learner: Addresses
    learner_keys: ServerKeys | None
    actors: Addresses
    actor_keys: ClientKeys | None


def tcp_addresses(address: str) -> Addresses:
    """A learner's addresses by that for experience, tcp://HOST:PORT: weights come from the next port.

    Raises AddressError.
    """
    url = urlsplit(address)
    try:
        usable = url.scheme == "tcp" and url.hostname and not url.path and 0 < (url.port or 0) < 2**16 - 1
    except ValueError:  # the port is no number
        usable = False
    if not usable:
        raise AddressError(f"address {address} cannot be used; expected tcp://HOST:PORT, PORT up to 65534")
    return _tcp(url.hostname or "", url.port or 0, (url.port or 0) + 1)


@contextmanager
def rendezvous(listen: str | None, keys: Path | None, host: str | None) -> Iterator[Rendezvous]:
    """Where the learner listens: at `listen`, tcp://HOST:PORT, with the keys in a folder, for other machines too.

    The actors that the run starts itself know this machine as `host`; None = they are on it. They have a key of their
    own, which is never written down. Without `listen` they are the only ones. Raises AddressError or KeysError where
    the learner could not listen.
    """
    if listen:
        server = ServerKeys.load(keys) if keys else None
        met = _with_own_key(tcp_addresses(listen), server, host or "127.0.0.1")
        with zmq.Context() as context, closing(LearnerEnd(context, met.learner, met.learner_keys)):
            pass  # it can listen there
        yield met
    elif host:
        yield _with_own_key(_tcp(host, *_free_ports(host)), ServerKeys(KeyPair.new(), frozenset()), host)
    else:
        with tempfile.TemporaryDirectory(prefix="lapwing-") as folder:
            addresses = local_addresses(folder)
            yield Rendezvous(addresses, None, addresses, None)


def _with_own_key(addresses: Addresses, keys: ServerKeys | None, host: str) -> Rendezvous:
    """Let the run's own actors in too, which know this machine as `host`."""
    found = Addresses(*(_known_as(host, address) for address in addresses))
    if keys is None:
        return Rendezvous(addresses, None, found, None)
    own = KeyPair.new()
    admitted = replace(keys, clients=keys.clients | {own.public})
    return Rendezvous(addresses, admitted, found, ClientKeys(own, keys.own.public))


def _known_as(host: str, address: str) -> str:
    url = urlsplit(address)
    return f"tcp://{host}:{url.port}" if url.hostname in EVERYWHERE else address


def _tcp(host: str, experience: int, weights: int) -> Addresses:
    return Addresses(f"tcp://{host}:{experience}", f"tcp://{host}:{weights}")


def _free_ports(host: str) -> tuple[int, int]:
    """Two that nobody listens at. They are chosen once, as a learner that is started anew must be found there again."""
    with socket() as one, socket() as other:
        for each in (one, other):
            each.bind((host, 0))
        return one.getsockname()[1], other.getsockname()[1]
