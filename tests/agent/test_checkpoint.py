"""A checkpoint comes back bit by bit, and a bad one is named in one line."""

import os
from pkgutil import resolve_name

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import agent.checkpoint
from agent.algorithms import ALGORITHMS
from agent.algorithms.d4pg import D4PGConfig
from agent.algorithms.ddpg import DDPGConfig
from agent.algorithms.td3 import TD3Config
from agent.checkpoint import (
    FORMAT,
    CheckpointError,
    PolicyFacts,
    Worth,
    flat_weights,
    load_actor,
    load_flat_weights,
    load_policy,
    save_actor,
)
from agent.networks import Actor
from tests.agent.fakes import FACTS


def make_actor(seed: int = 0, facts: PolicyFacts = FACTS) -> Actor:
    torch.manual_seed(seed)
    return agent.checkpoint.make_actor(facts)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "actor.safetensors"
    save_actor(path, make_actor(), FACTS)
    return path


def refused(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_actor(path)
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_actor_and_facts_come_back_bit_by_bit(path):
    actor, facts = load_actor(path)
    assert facts == FACTS
    saved = make_actor().state_dict()
    assert actor.state_dict().keys() == saved.keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in actor.state_dict().items())
    assert not any(parameter.requires_grad for parameter in actor.parameters())


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("activation", ["relu", "elu", "tanh"])
def test_an_actor_of_any_make_comes_back_and_acts_the_same(path, norm, activation):
    facts = msgspec.structs.replace(FACTS, algo="td3", norm=norm, activation=activation)
    torch.manual_seed(0)
    trained = Actor(facts.obs_size, facts.action_size, facts.hidden, norm, activation, final_init=1.0)
    obs = torch.randn(7, facts.obs_size, generator=torch.Generator().manual_seed(0))
    trained(3 * obs + 2)  # statistics of a batch, for whoever keeps them
    save_actor(path, trained, facts)
    actor, found = load_actor(path)
    assert found == facts
    assert torch.equal(actor(obs), trained.eval()(obs))


@pytest.mark.parametrize(
    "settings",
    [
        DDPGConfig(hidden=(16,), critic_norm="batch", activation="elu"),
        TD3Config(hidden=(16,), critics=3, critic_norm="layer"),
        D4PGConfig(hidden=(16,), v_min=-2.0, v_max=5.0, atoms=9),
    ],
)
def test_what_an_action_is_worth_comes_back_with_the_actor(path, settings):
    algo = type(settings).__name__.removesuffix("Config").lower()
    facts, size = msgspec.structs.replace(FACTS, algo=algo, norm=settings.actor_norm), FACTS.obs_size
    facts = msgspec.structs.replace(facts, activation=settings.activation)
    torch.manual_seed(0)
    trained = resolve_name(ALGORITHMS[algo])(settings, size, 2)
    save_actor(path, trained.actor, facts, Worth(settings, flat_weights(trained.value)))
    actor, _, value = load_policy(path)
    obs, action = torch.randn(7, size), torch.rand(7, 2)
    assert value is not None
    assert torch.equal(value(obs, action), trained.value.eval()(obs, action))
    assert value(obs, action).std() > 0
    assert torch.equal(flat_weights(actor), flat_weights(trained.actor))


def test_a_file_without_it_is_as_good_for_driving(path):
    actor, facts, value = load_policy(path)
    assert value is None
    assert facts == FACTS
    assert torch.equal(flat_weights(actor), flat_weights(make_actor()))


def test_weights_of_another_critic_are_an_error(path):
    save_actor(path, make_actor(), FACTS, Worth(DDPGConfig(hidden=(16,)), torch.zeros(7)))
    with pytest.raises(CheckpointError, match="damaged"):
        load_policy(path)


def test_saving_again_replaces_the_file_whole(path):
    save_actor(path, make_actor(seed=1), FACTS)
    assert torch.equal(flat_weights(load_actor(path)[0]), flat_weights(make_actor(seed=1)))
    assert os.listdir(path.parent) == [path.name]


def test_a_save_that_is_cut_short_leaves_the_old_file(path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_actor(path, make_actor(seed=1), FACTS)
    assert torch.equal(flat_weights(load_actor(path)[0]), flat_weights(make_actor()))


def test_a_missing_file_is_an_error(tmp_path):
    assert "no such checkpoint" in refused(tmp_path / "none.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_an_error(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "damaged" in refused(path)


def test_a_folder_is_an_error(tmp_path):
    refused(tmp_path)


def test_a_file_of_something_else_is_an_error(path):
    path.write_bytes(b"import os; os.abort()" * 100)
    assert "not an actor" in refused(path)


def test_weights_without_our_metadata_are_an_error(path):
    save_file(make_actor().state_dict(), path)
    assert "lapwing" in refused(path)


@pytest.mark.parametrize(
    "metadata",
    ["not json", "{}", msgspec.json.encode(msgspec.structs.replace(FACTS, hidden=(17,))).decode()],
    ids=["no json", "no facts", "facts of another actor"],
)
def test_metadata_that_does_not_fit_is_an_error(path, metadata):
    save_file(make_actor().state_dict(), path, metadata={"lapwing": metadata})
    refused(path)


@pytest.mark.parametrize("known", [1, FORMAT + 1])
def test_a_checkpoint_of_another_format_is_an_error_that_says_so(path, known):
    facts = msgspec.json.decode(msgspec.json.encode(FACTS)) | {"format": known, "wings": 2}
    del facts["norm"]
    save_file(make_actor().state_dict(), path, metadata={"lapwing": msgspec.json.encode(facts).decode()})
    said = refused(path)
    assert f"format {known}; expected {FORMAT}" in said
    assert "\n" not in said


def test_facts_that_nobody_knows_are_an_error(path):
    facts = msgspec.json.decode(msgspec.json.encode(FACTS)) | {"tyres": "winter"}
    save_file(make_actor().state_dict(), path, metadata={"lapwing": msgspec.json.encode(facts).decode()})
    assert "tyres" in refused(path)


def test_running_statistics_travel_with_the_weights():
    facts = msgspec.structs.replace(FACTS, norm="batch")
    actor, other = make_actor(0, facts), make_actor(1, facts)
    actor.train()(torch.randn(7, facts.obs_size))
    load_flat_weights(other, flat_weights(actor))
    obs = torch.randn(3, facts.obs_size)
    assert torch.equal(other(obs), actor.eval()(obs))


def test_weights_of_another_shape_are_refused():
    with pytest.raises(RuntimeError):
        load_flat_weights(make_actor(), torch.zeros(7))


@given(st.integers(0, 2**31))
def test_flat_weights_are_a_round_trip(seed):
    actor = make_actor(seed)
    flat = flat_weights(actor)
    assert flat.shape == (38 * 16 + 16 + 2 * 16 + 16 * 2 + 2,)  # layer, LayerNorm, layer
    other = make_actor(seed + 1)
    load_flat_weights(other, flat.clone())
    assert torch.equal(flat_weights(other), flat)
