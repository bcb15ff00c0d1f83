"""DDPG's gradients are those of the paper, worked out numerically, and it finds known optima and values."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from agent.algorithms.ddpg import DDPG, DDPGConfig
from agent.checkpoint import flat_weights, load_flat_weights
from agent.replay.uniform import Batch, Sample
from tests.agent.fakes import Descent, random_batch, scramble, step_of, weights

CONFIG = replace(DDPGConfig(), hidden=(6,), batch_size=16, preactivation_cost=0.0, max_grad_norm=1e9)
STEP = 1e-6  # of finite differences in float64


@pytest.fixture
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def descending(config: DDPGConfig, *, actor_lr: float = 0.0, critic_lr: float = 0.0) -> DDPG:
    """DDPG by plain gradient descent, so that a step of length 1 is minus the gradient."""
    torch.manual_seed(1)
    ddpg = DDPG(config, obs_size=3, action_size=2)
    scramble(ddpg.actor, ddpg.critic, ddpg.target_actor, ddpg.target_critic)
    ddpg.actor_optimizer = Descent(ddpg.actor, actor_lr)
    ddpg.critic_optimizer = Descent(ddpg.critic, critic_lr)
    return ddpg


def numeric_gradient(function, point: torch.Tensor) -> torch.Tensor:
    """Central differences of `function` at `point`, (N,); the function's values may be of any shape."""
    columns = []
    for i in range(len(point)):
        offset = torch.zeros_like(point)
        offset[i] = STEP
        columns.append((function(point + offset) - function(point - offset)) / (2 * STEP))
    return torch.stack(columns, dim=-1)


def action_value_gradient(critic: torch.nn.Module, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """∇_a Q(s, a), (batch, 2), by central differences."""
    sides = []
    for i in range(action.shape[1]):
        offset = STEP * torch.eye(action.shape[1])[i]
        sides.append((critic(obs, action + offset) - critic(obs, action - offset)) / (2 * STEP))
    return torch.stack(sides, dim=-1)


@pytest.mark.usefixtures("_float64")
def test_the_actor_climbs_the_deterministic_policy_gradient():
    ddpg, batch = descending(CONFIG, actor_lr=1.0), random_batch()
    actor = copy.deepcopy(ddpg.actor)

    def mu(theta: torch.Tensor) -> torch.Tensor:
        load_flat_weights(actor, theta)
        return actor(batch.obs)

    with torch.no_grad():
        theta = flat_weights(ddpg.actor)
        mu_gradient = numeric_gradient(mu, theta)  # ∇_θ μ, (batch, 2, N)
        value_gradient = action_value_gradient(ddpg.critic, batch.obs, mu(theta))
    expected = torch.einsum("ba,ban->n", value_gradient, mu_gradient) / len(batch.obs)  # Silver 2014, eq. 9
    assert expected.abs().max() > 1e-3
    assert torch.allclose(step_of(ddpg.actor, ddpg, batch), expected, atol=1e-8, rtol=1e-5)


@pytest.mark.usefixtures("_float64")
def test_the_critic_descends_the_squared_td_error_with_fixed_targets():
    ddpg, batch = descending(CONFIG, critic_lr=1.0), random_batch()
    batch.discount[::2] = 0.0
    critic = copy.deepcopy(ddpg.critic)
    with torch.no_grad():
        following = ddpg.target_critic(batch.next_obs, ddpg.target_actor(batch.next_obs))
        y = batch.reward + torch.tensor([0.0, 0.9] * 8) * following

    def loss(theta: torch.Tensor) -> torch.Tensor:
        torch.nn.utils.vector_to_parameters(theta, critic.parameters())
        return (y - critic(batch.obs, batch.action)).square().sum() / 16

    with torch.no_grad():
        expected = -numeric_gradient(loss, weights(ddpg.critic))
    assert torch.allclose(step_of(ddpg.critic, ddpg, batch), expected, atol=1e-8, rtol=1e-5)


@pytest.mark.usefixtures("_float64")
def test_saturation_costs_the_squared_preactivation():
    config = replace(CONFIG, preactivation_cost=0.5)
    with_cost, without = descending(config, actor_lr=1.0), descending(CONFIG, actor_lr=1.0)
    batch, actor = random_batch(), copy.deepcopy(with_cost.actor)

    def cost(theta: torch.Tensor) -> torch.Tensor:
        load_flat_weights(actor, theta)
        return 0.5 * torch.atanh(actor(batch.obs)).square().mean()

    with torch.no_grad():
        expected = -numeric_gradient(cost, flat_weights(with_cost.actor))
    difference = step_of(with_cost.actor, with_cost, batch) - step_of(without.actor, without, batch)
    assert torch.allclose(difference, expected, atol=1e-8, rtol=1e-5)


def test_each_networks_step_leaves_the_other_alone():
    only_actor, only_critic = descending(CONFIG, actor_lr=0.1), descending(CONFIG, critic_lr=0.1)
    batch = random_batch()
    assert step_of(only_actor.critic, only_actor, batch).abs().max() == 0
    assert step_of(only_actor.actor, only_actor, batch).abs().max() > 0
    assert step_of(only_critic.actor, only_critic, batch).abs().max() == 0
    assert step_of(only_critic.critic, only_critic, batch).abs().max() > 0


def test_targets_follow_by_tau_and_by_nothing_else():
    ddpg, batch = descending(replace(CONFIG, tau=0.25), actor_lr=0.1, critic_lr=0.1), random_batch()
    for target, network in ((ddpg.target_actor, ddpg.actor), (ddpg.target_critic, ddpg.critic)):
        before = weights(target)
        ddpg.update(batch)
        assert torch.allclose(weights(target), 0.75 * before + 0.25 * weights(network), atol=1e-6)
        assert not any(parameter.requires_grad for parameter in target.parameters())


def test_targets_start_as_copies_that_share_no_memory():
    ddpg = DDPG(CONFIG, 3, 2)
    for target, network in ((ddpg.target_actor, ddpg.actor), (ddpg.target_critic, ddpg.critic)):
        assert torch.equal(weights(target), weights(network))
        theirs = {parameter.data_ptr() for parameter in network.parameters()}
        assert theirs.isdisjoint(parameter.data_ptr() for parameter in target.parameters())


def test_gradients_are_clipped_to_the_papers_0_005():
    config = replace(CONFIG, max_grad_norm=0.005)
    batch = random_batch()
    for name in ("actor", "critic"):
        ddpg = descending(config, **{f"{name}_lr": 1.0})
        assert step_of(getattr(ddpg, name), ddpg, batch).norm().item() == pytest.approx(0.005, rel=1e-3)


def test_a_small_gradient_is_not_clipped():
    batch = random_batch()
    wide, clipping = descending(CONFIG, critic_lr=1.0), descending(replace(CONFIG, max_grad_norm=100.0), critic_lr=1.0)
    assert torch.allclose(step_of(wide.critic, wide, batch), step_of(clipping.critic, clipping, batch))


def trained(config: DDPGConfig, updates: int, experience) -> DDPG:
    """One-dimensional actions, two-dimensional states: `experience(generator)` draws each batch."""
    torch.manual_seed(0)
    ddpg, generator = DDPG(config, obs_size=2, action_size=1), torch.Generator().manual_seed(0)
    for _ in range(updates):
        ddpg.update(experience(generator))
    return ddpg


FIRST, SECOND = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
LEARNING = replace(
    DDPGConfig(), hidden=(32,), actor_lr=3e-3, critic_lr=3e-3, tau=0.1, max_grad_norm=1.0, preactivation_cost=0.01
)


def bandit(generator: torch.Generator) -> Batch:
    """Reward −(a − 0.5)², and the episode ends; whatever follows must not count."""
    action = torch.rand(64, 1, generator=generator) * 2 - 1
    state = FIRST.expand(64, 2)
    return Batch(state, action, -((action[:, 0] - 0.5) ** 2), torch.zeros(64), 100 * state)


def two_steps(generator: torch.Generator) -> Batch:
    """The first step earns nothing, the second 3 − (a + 0.5)² and ends the episode; γ = 0.9."""
    action = torch.rand(64, 1, generator=generator) * 2 - 1
    late = torch.rand(64, generator=generator) < 0.5
    reward = torch.where(late, 3 - (action[:, 0] + 0.5) ** 2, 0.0)
    state = torch.where(late[:, None], SECOND, FIRST)
    return Batch(state, action, reward, torch.where(late, 0.0, 0.9), SECOND.expand(64, 2))


def standing_still(generator: torch.Generator) -> Batch:
    """Reward 1 for ever, γ = 0.5, every step cut off by the clock: worth 1 / (1 − 0.5) = 2."""
    action = torch.rand(64, 1, generator=generator) * 2 - 1
    state = FIRST.expand(64, 2)
    return Batch(state, action, torch.ones(64), torch.full((64,), 0.5), state)


def test_it_finds_the_best_arm_of_a_bandit():
    ddpg = trained(LEARNING, 300, bandit)
    assert ddpg.actor(FIRST).item() == pytest.approx(0.5, abs=0.06)
    arms = torch.tensor([[-0.5], [0.0], [0.5]])
    values = ddpg.critic(FIRST.expand(3, 2), arms)
    assert values.tolist() == pytest.approx([-1.0, -0.25, 0.0], abs=0.08)


def test_it_knows_the_value_of_two_steps():
    ddpg = trained(LEARNING, 400, two_steps)
    assert ddpg.actor(SECOND).item() == pytest.approx(-0.5, abs=0.1)
    assert ddpg.critic(SECOND, torch.tensor([[-0.5]])).item() == pytest.approx(3.0, abs=0.1)
    for action in (-0.5, 0.5):
        assert ddpg.critic(FIRST, torch.tensor([[action]])).item() == pytest.approx(2.7, abs=0.15)  # 0.9 · 3


def test_a_time_out_is_worth_what_would_have_followed():
    ddpg = trained(LEARNING, 200, standing_still)
    assert ddpg.critic(FIRST, torch.zeros(1, 1)).item() == pytest.approx(2.0, abs=0.1)


def test_an_update_reports_the_losses_of_before_it():
    ddpg, batch = descending(CONFIG), random_batch()
    with torch.no_grad():
        value = ddpg.critic(batch.obs, batch.action)
        y = batch.reward + 0.9 * ddpg.target_critic(batch.next_obs, ddpg.target_actor(batch.next_obs))
        climbed = ddpg.critic(batch.obs, ddpg.actor(batch.obs)).mean()
    scalars = ddpg.update(batch)
    assert torch.allclose(scalars["priority"], (y - value).abs(), rtol=1e-4)
    scalars = {name: scalar.item() for name, scalar in scalars.items() if scalar.ndim == 0}
    assert scalars["critic_loss"] == pytest.approx((y - value).square().mean().item(), rel=1e-4)
    assert scalars["actor_loss"] == pytest.approx(-climbed.item(), rel=1e-4)
    assert scalars["q_mean"] == pytest.approx(value.mean().item(), rel=1e-4)
    assert scalars["q_max"] == pytest.approx(value.max().item(), rel=1e-4)
    assert scalars["td_error"] == pytest.approx((y - value).abs().mean().item(), rel=1e-4)


def test_reported_gradient_norms_are_those_before_clipping():
    ddpg, batch = descending(CONFIG, actor_lr=1.0), random_batch()
    moved = step_of(ddpg.actor, ddpg, batch).norm().item()
    clipped = descending(replace(CONFIG, max_grad_norm=0.005), actor_lr=1.0)
    assert clipped.update(batch)["actor_grad_norm"].item() == pytest.approx(moved, rel=1e-4)


def test_importance_weights_weigh_the_squared_errors():
    batch, rows = random_batch(), torch.arange(16)
    weight = torch.where(rows < 4, 4.0, 0.0)
    weighted, alone = descending(CONFIG, critic_lr=0.1), descending(CONFIG, critic_lr=0.1)
    weighted.update(Sample(batch, rows, weight))
    alone.update(Batch(*(column[:4] for column in batch)))  # mean over 4 = mean over 16 of four-fold weights
    assert torch.allclose(weights(weighted.critic), weights(alone.critic), atol=1e-6)


def test_actions_are_executed_by_the_vehicle_before_q_sees_them():
    seen = []

    def limited(obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        seen.append(obs)
        return 0 * action + 0.25

    ddpg, batch = descending(CONFIG), random_batch()
    ddpg.executed = limited
    with torch.no_grad():
        quarter = torch.full_like(batch.action, 0.25)
        y = batch.reward + 0.9 * ddpg.target_critic(batch.next_obs, quarter)
        expected = (y - ddpg.critic(batch.obs, batch.action)).abs()
        climbed = ddpg.critic(batch.obs, quarter).mean()
    scalars = ddpg.update(batch)
    assert torch.allclose(scalars["priority"], expected, atol=1e-6)
    assert scalars["actor_loss"].item() == pytest.approx(-climbed.item(), rel=1e-5)
    assert torch.equal(seen[0], batch.next_obs)
    assert torch.equal(seen[1], batch.obs)


@pytest.mark.usefixtures("_float64")
def test_inverting_gradients_reach_the_preactivation_past_tanh():
    config = replace(CONFIG, saturation_cure="inverting gradients")
    ddpg, batch = descending(config, actor_lr=1.0), random_batch()
    actor = copy.deepcopy(ddpg.actor)

    def preactivation(theta: torch.Tensor) -> torch.Tensor:
        load_flat_weights(actor, theta)
        return torch.atanh(actor(batch.obs))

    with torch.no_grad():
        theta = flat_weights(ddpg.actor)
        gradient = numeric_gradient(preactivation, theta)
        action = ddpg.actor(batch.obs)
        uphill = action_value_gradient(ddpg.critic, batch.obs, action)
        room = torch.where(uphill > 0, 1 - action, action + 1) / 2
        expected = torch.einsum("ba,ban->n", uphill * room, gradient) / len(batch.obs)
    assert torch.allclose(step_of(ddpg.actor, ddpg, batch), expected, atol=1e-7, rtol=1e-4)


def test_inverting_gradients_bring_a_saturated_actor_back():
    def action_after(cure: str) -> float:
        torch.manual_seed(0)
        config = replace(LEARNING, saturation_cure=cure, preactivation_cost=0.0)
        ddpg, generator = DDPG(config, obs_size=2, action_size=1), torch.Generator().manual_seed(0)
        torch.nn.init.constant_(list(ddpg.actor.parameters())[-1], 12.0)  # tanh'(12) is 0 in float32
        for _ in range(300):
            ddpg.update(bandit(generator))
        return ddpg.actor(FIRST).item()

    assert action_after("inverting gradients") == pytest.approx(0.5, abs=0.1)
    assert action_after("preactivation cost") == 1.0  # a cost of nothing is no cure


def test_l2_shrinks_the_critic_alone():
    batch = random_batch()._replace(reward=torch.zeros(16), discount=torch.zeros(16))
    batch = batch._replace(obs=torch.zeros(16, 3), action=torch.zeros(16, 2))

    def shrunk(l2: float) -> tuple[float, float]:
        """How far the first layers of critic and actor move to zero; no input reaches them: only decay can do that."""
        torch.manual_seed(0)
        ddpg = DDPG(replace(CONFIG, critic_l2=l2, critic_lr=1e-3, actor_lr=1e-3), 3, 2)
        layers = ddpg.critic.body[0].weight[:, :3], ddpg.actor.body[0].weight
        before = [layer.detach().abs() for layer in layers]
        ddpg.update(batch)
        critic, actor = [(old - new.detach().abs()).mean().item() for old, new in zip(before, layers, strict=True)]
        return critic, actor

    assert shrunk(1e-2) == (pytest.approx(1e-3, rel=0.02), 0)  # Adam's first step is its step size towards zero
    assert shrunk(0.0) == (0, 0)


def test_batch_normalised_networks_learn_and_their_targets_use_running_statistics():
    torch.manual_seed(0)
    config = replace(LEARNING, actor_norm="batch", critic_norm="batch")
    ddpg, generator = DDPG(config, obs_size=2, action_size=1), torch.Generator().manual_seed(0)
    for _ in range(500):
        batch = bandit(generator)
        batch = batch._replace(obs=5 + 2 * torch.randn(64, 2, generator=generator))
        ddpg.update(batch._replace(next_obs=batch.obs))
    statistics = ddpg.policy.state
    assert not statistics.training
    assert statistics.running_mean.tolist() == pytest.approx([5, 5], abs=0.5)
    assert statistics.running_var.tolist() == pytest.approx([4, 4], abs=1)
    assert ddpg.policy(torch.full((1, 2), 5.0)).item() == pytest.approx(0.5, abs=0.2)


def test_a_saturated_actor_is_reported():
    ddpg, batch = descending(CONFIG), random_batch()
    last = list(ddpg.actor.parameters())[-1]
    torch.nn.init.constant_(last[:1], 40.0)  # one of two components
    assert 0.5 <= ddpg.update(batch)["saturation"].item() < 0.9
