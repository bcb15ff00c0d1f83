"""The networks start near zero and give what their signatures promise."""

import pytest
import torch
from jaxtyping import TypeCheckError

from agent.networks import Actor, Critic


@pytest.fixture
def obs() -> torch.Tensor:
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


def last_layer(network: torch.nn.Module) -> torch.nn.Linear:
    return [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]


@pytest.mark.parametrize("network", [Actor(5, 2, (64, 64)), Critic(5, 2, (64, 64))], ids=["actor", "critic"])
def test_the_final_layer_starts_within_3e_3(network):
    weights = torch.cat([parameter.flatten() for parameter in last_layer(network).parameters()]).detach()
    assert weights.abs().max() <= 3e-3
    assert weights.abs().max() > 1.5e-3  # and is not all zero: of 65 uniform ones none has missed the upper half


def test_first_actions_and_values_are_near_zero(obs):
    actor, critic = Actor(5, 2, (64, 64)), Critic(5, 2, (64, 64))
    assert actor(obs).abs().max() < 0.2
    assert critic(obs, actor(obs)).abs().max() < 0.2


def test_shapes(obs):
    assert Actor(5, 2, (8,))(obs).shape == (7, 2)
    assert Critic(5, 2, (8, 8, 8))(obs, torch.zeros(7, 2)).shape == (7,)


def test_actions_are_squashed_and_values_are_not(obs):
    actor, critic = Actor(5, 2, (8,)), Critic(5, 2, (8,))
    for network in (actor, critic):
        torch.nn.init.constant_(last_layer(network).bias, 40.0)
    assert torch.all(actor(obs) == 1.0)
    assert torch.all(critic(obs, torch.zeros(7, 2)) > 39.0)


def test_the_action_is_the_tanh_of_the_preactivation(obs):
    actor = Actor(5, 2, (8,))
    assert torch.equal(actor(obs), torch.tanh(actor.preactivation(obs)))


def test_the_critic_listens_to_the_action(obs):
    critic = Critic(5, 2, (8,))
    assert not torch.equal(critic(obs, torch.zeros(7, 2)), critic(obs, torch.ones(7, 2)))


def test_batches_that_do_not_belong_together_are_refused(obs):
    critic = Critic(5, 2, (8,))
    with pytest.raises(TypeCheckError):
        critic(obs, torch.zeros(1, 2))
    with pytest.raises(TypeCheckError):
        critic(obs[0], torch.zeros(2))
