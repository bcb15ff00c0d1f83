"""TD3's three additions do what the paper says, each alone, worked out from the networks one by one."""

from dataclasses import replace

import pytest
import torch

from agent.algorithms.ddpg import DDPG, DDPGConfig
from agent.algorithms.td3 import TD3, TD3Config
from agent.replay.uniform import Batch, Sample
from tests.agent.fakes import Descent, random_batch, scramble, step_of, steps_for_saturation, weights

PLAIN = replace(TD3Config(), hidden=(8,), critics=1, smoothing=0.0, delay=1)


def make(**changes) -> TD3:
    torch.manual_seed(1)
    td3 = TD3(replace(PLAIN, **changes), obs_size=3, action_size=2)
    scramble(td3.actor, td3.critics, td3.target_actor, td3.target_critics)
    return td3


def by_hand(network, i: int, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """Q_i(s, a) of a critic with one hidden layer, from its own slice of the weights."""
    (w1, w2), (b1, b2) = ([tensor.detach()[i] for tensor in tensors] for tensors in (network.weights, network.biases))
    return (torch.relu(torch.cat([obs, action], dim=1) @ w1 + b1) @ w2 + b2)[:, 0]


def expected_errors(td3: TD3, batch: Batch, noise: torch.Tensor) -> torch.Tensor:
    """y − Q_i(s, a), (critics, batch), with the target action moved by the noise."""
    count = td3.config.critics
    with torch.no_grad():
        next_action = (td3.target_actor(batch.next_obs) + noise).clamp(-1, 1)
        following = [by_hand(td3.target_critics, i, batch.next_obs, next_action) for i in range(count)]
        y = batch.reward + batch.discount * torch.stack(following).min(dim=0).values
        return torch.stack([y - by_hand(td3.critics, i, batch.obs, batch.action) for i in range(count)])


@pytest.mark.parametrize("critics", [1, 2, 5])
def test_the_target_believes_the_least_of_all_critics(critics):
    td3, batch = make(critics=critics), random_batch()
    errors = expected_errors(td3, batch, torch.zeros(16, 2))
    scalars = td3.update(batch)
    assert scalars["critic_loss"].item() == pytest.approx(errors.square().mean(dim=1).sum().item(), rel=1e-5)
    assert torch.allclose(scalars["priority"], errors.abs().mean(dim=0), atol=1e-6)


def test_smoothing_alone_adds_clipped_noise_to_the_target_action():
    td3, batch = make(smoothing=5.0, smoothing_clip=0.25), random_batch()
    noise = torch.randn(16, 2, generator=torch.Generator().set_state(td3.generator.get_state())) * 5
    errors = expected_errors(td3, batch, noise.clamp(-0.25, 0.25))
    assert torch.allclose(td3.update(batch)["priority"], errors[0].abs(), atol=1e-6)


def test_each_update_draws_fresh_noise_from_its_own_generator():
    td3, batch = make(smoothing=0.2, actor_lr=0.0, critic_lr=0.0, tau=0.0), random_batch()
    before = torch.get_rng_state()
    first, second = (td3.update(batch)["critic_loss"].item() for _ in range(2))
    assert first != second
    assert torch.equal(torch.get_rng_state(), before)


def test_delay_alone_moves_the_actor_and_the_targets_every_third_update():
    td3, batch = make(delay=3), random_batch()
    names = ("actor", "target_actor", "target_critics")

    def moved() -> list[bool]:
        before = {name: weights(getattr(td3, name)) for name in (*names, "critics")}
        td3.update(batch)
        assert not torch.equal(weights(td3.critics), before["critics"])
        return [not torch.equal(weights(getattr(td3, name)), before[name]) for name in names]

    assert [moved() for _ in range(6)] == [[False] * 3, [False] * 3, [True] * 3] * 2


def test_the_actor_climbs_the_first_critic_only():
    td3, batch = make(critics=3, critic_lr=0.0), random_batch()
    with torch.no_grad():
        climbed = by_hand(td3.critics, 0, batch.obs, td3.actor(batch.obs)).mean()
    other = make(critics=3, critic_lr=0.0)
    for tensor in (*other.critics.weights, *other.critics.biases):
        tensor.data[1:] += 1.0
    assert td3.update(batch)["actor_loss"].item() == pytest.approx(-climbed.item(), rel=1e-5)
    other.update(batch)
    assert torch.equal(weights(td3.actor), weights(other.actor))


def test_with_all_three_switched_off_it_is_ddpg():
    config = DDPGConfig(hidden=(8,), actor_lr=1e-3, critic_lr=1e-3, actor_norm="none", critic_norm="none")
    config = replace(config, max_grad_norm=None, preactivation_cost=0.0)
    ddpg, td3 = DDPG(config, 3, 2), make(actor_lr=1e-3, critic_lr=1e-3)
    for ours, theirs in ((ddpg.actor, td3.actor), (ddpg.target_actor, td3.target_actor)):
        ours.load_state_dict(theirs.state_dict())
    for ours, theirs in ((ddpg.critic, td3.critics), (ddpg.target_critic, td3.target_critics)):
        layers = [ours.body[0], ours.body[2]]
        for layer, weight, bias in zip(layers, theirs.weights, theirs.biases, strict=True):
            layer.weight.data.copy_(weight[0].T)
            layer.bias.data.copy_(bias[0, 0])
    for seed in range(20):
        ddpg.update(random_batch(seed=seed))
        td3.update(random_batch(seed=seed))
    assert torch.allclose(weights(ddpg.actor), weights(td3.actor), atol=1e-5)
    assert torch.allclose(weights(ddpg.target_actor), weights(td3.target_actor), atol=1e-5)


def test_twin_critics_are_not_as_optimistic_as_one():
    """Max over noisy estimates is biased upwards; the least of two is not (Fujimoto 2018, section 4)."""

    def believed(critics: int) -> float:
        td3, generator = make(critics=critics, smoothing=0.0, actor_lr=3e-3, critic_lr=3e-3), torch.Generator()
        for _ in range(150):
            noise = torch.randn(32, generator=generator.manual_seed(_))
            batch = random_batch(32, seed=_ % 3)
            scalars = td3.update(batch._replace(reward=3 * noise))
        return scalars["q_mean"].item()

    assert believed(2) < believed(1)


def test_dropout_and_layer_norm_critics_learn():
    td3 = make(hidden=(64, 64), critics=2, critic_norm="layer", dropout=0.01, critic_lr=3e-3)
    batch = random_batch(64)._replace(discount=torch.zeros(64))
    losses = [td3.update(batch)["critic_loss"].item() for _ in range(150)]
    assert losses[-1] < 0.5 * losses[0]


def test_actions_are_executed_by_the_vehicle_after_smoothing():
    td3, batch = make(smoothing=0.2), random_batch()
    td3.executed = lambda obs, action: 0 * action + 0.25
    with torch.no_grad():
        quarter = torch.full((16, 2), 0.25)
        y = batch.reward + batch.discount * by_hand(td3.target_critics, 0, batch.next_obs, quarter)
        expected = (y - by_hand(td3.critics, 0, batch.obs, batch.action)).abs()
        climbed = by_hand(td3.critics, 0, batch.obs, quarter).mean()
    td3.critic_optimizer = Descent(td3.critics, 0.0)
    scalars = td3.update(batch)
    assert torch.allclose(scalars["priority"], expected, atol=1e-6)
    assert scalars["actor_loss"].item() == pytest.approx(-climbed.item(), rel=1e-5)


def descending(*, actor_lr: float = 0.0, critic_lr: float = 0.0, **changes) -> TD3:
    """TD3 by plain gradient descent, so that a step of length 1 is minus the gradient."""
    td3 = make(**changes)
    td3.actor_optimizer = Descent(td3.actor, actor_lr)
    td3.critic_optimizer = Descent(td3.critics, critic_lr)
    return td3


def test_importance_weights_weigh_the_squared_errors():
    batch, rows = random_batch(), torch.arange(16)
    weighted, alone = descending(critics=2, critic_lr=0.1), descending(critics=2, critic_lr=0.1)
    moved = step_of(weighted.critics, weighted, Sample(batch, rows, torch.where(rows < 4, 4.0, 0.0)))
    expected = step_of(alone.critics, alone, Batch(*(column[:4] for column in batch)))
    assert expected.norm() > 0.1
    assert torch.allclose(moved, expected, atol=1e-5)


def test_gradients_are_clipped_to_the_norm_asked_for():
    batch = random_batch()
    actor = descending(critics=2, actor_lr=1.0, max_grad_norm=0.005)
    critics = descending(critics=2, critic_lr=1.0, max_grad_norm=0.005)
    assert step_of(actor.actor, actor, batch).norm().item() == pytest.approx(0.005, rel=1e-3)
    assert step_of(critics.critics, critics, batch).norm().item() == pytest.approx(0.005, rel=1e-3)


def test_saturation_costs_the_squared_preactivation():
    with_cost, without = descending(actor_lr=1.0, preactivation_cost=0.5), descending(actor_lr=1.0)
    difference, expected = steps_for_saturation(with_cost, without)
    assert difference.norm() > 0.1
    assert torch.allclose(difference, expected, atol=1e-4)
