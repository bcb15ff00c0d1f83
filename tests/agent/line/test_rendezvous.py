"""Learner and actors find each other, and know each other by keys where other machines may come in."""

import io
import socket
from pathlib import Path

import numpy as np
import pytest
import zmq
from rich.console import Console

from agent.line.channel import ActorEnd, Addresses, LearnerEnd
from agent.line.rendezvous import Rendezvous, rendezvous, tcp_addresses
from deploy.keys import ClientKeys, KeysConfig, write_keys
from deploy.sockets import AddressError
from deploy.wire import Weights
from tests.agent.processes import free_port


@pytest.fixture
def keys(tmp_path) -> Path:
    write_keys(KeysConfig(tmp_path / "keys", ("far",)), Console(file=io.StringIO()))
    return tmp_path / "keys"


def meet(met: Rendezvous, actors: Addresses, keys: ClientKeys | None) -> bool:
    """True once weights have come from the learner to the actor."""
    header = Weights(version=1, updates=0, transitions=0, episodes=0, due=0, stop=False)
    with zmq.Context() as context:
        learner = LearnerEnd(context, met.learner, met.learner_keys)
        actor = ActorEnd(context, actors, keys=keys)
        while not (newest := actor.newest_weights(10)):
            learner.publish(header, np.zeros(3, np.float32))
        learner.close()
        actor.close()
    return newest[0].version == 1


def test_without_an_address_they_meet_where_no_other_machine_can_come():
    with rendezvous(None, None, None) as met:
        assert all(address.startswith("ipc://") for address in met.learner)
        assert meet(met, met.actors, met.actor_keys)


def test_actors_on_the_learners_machine_and_on_others_are_let_in_by_keys_of_their_own(keys):
    port = free_port(30_000)
    with rendezvous(f"tcp://0.0.0.0:{port}", keys / "server", None) as met:
        assert met.learner == (f"tcp://0.0.0.0:{port}", f"tcp://0.0.0.0:{port + 1}")
        assert met.actors == (f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}")
        far = ClientKeys.load(keys / "clients" / "far")
        assert meet(met, met.actors, met.actor_keys)
        assert meet(met, met.actors, far)
        assert met.actor_keys is not None
        assert met.actor_keys.own != far.own
        secret = met.actor_keys.own.secret
    assert all(secret not in path.read_bytes() for path in keys.rglob("*.key"))


def test_actors_that_know_this_machine_by_another_name_have_keys_even_without_any_folder():
    with rendezvous(None, None, "127.0.0.1") as met:
        assert met.learner == met.actors
        assert met.actor_keys is not None
        assert met.learner_keys is not None
        assert met.learner_keys.clients == {met.actor_keys.own.public}
        assert meet(met, met.actors, met.actor_keys)


def test_an_address_that_is_taken_is_told_at_once():
    port = free_port(30_000)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + 1))
        other.listen()
        with (
            pytest.raises(AddressError, match=f"{port + 1} is already in use"),
            rendezvous(f"tcp://127.0.0.1:{port}", None, None),
        ):
            pass


def test_weights_come_from_the_next_port():
    assert tcp_addresses("tcp://car.example:5600") == ("tcp://car.example:5600", "tcp://car.example:5601")


@pytest.mark.parametrize("address", ["tcp://h:65535", "tcp://h:0", "tcp://h", "tcp://h:x", "tcp://:5600", "ipc:///h"])
def test_what_is_no_such_address_is_refused(address):
    with pytest.raises(AddressError, match="expected tcp://HOST:PORT"):
        tcp_addresses(address)
