"""D4PG's distributional critic learns whole distributions, and the actor climbs their mean."""

from dataclasses import replace

import pytest
import torch

from agent.algorithms.d4pg import D4PG, D4PGConfig
from agent.replay.uniform import Batch, Sample
from tests.agent.fakes import Descent, random_batch, scramble, step_of, steps_for_saturation, weights

CONFIG = replace(D4PGConfig(), hidden=(32,), v_min=-2.0, v_max=2.0, atoms=5, actor_lr=3e-3, critic_lr=1e-2, tau=0.1)
OBS = torch.tensor([[1.0, -1.0]])


def make(**changes) -> D4PG:
    torch.manual_seed(0)
    return D4PG(replace(CONFIG, **changes), obs_size=2, action_size=1)


def coin(size: int, generator: torch.Generator) -> Batch:
    """Worth −1 or +2 with equal chance, whatever the action, and over."""
    heads = torch.rand(size, generator=generator) < 0.5
    obs = OBS.expand(size, 2)
    action = torch.rand(size, 1, generator=generator) * 2 - 1
    return Batch(obs, action, torch.where(heads, 2.0, -1.0), torch.zeros(size), obs)


def test_the_critic_learns_both_sides_of_a_coin():
    d4pg, generator = make(), torch.Generator().manual_seed(0)
    for _ in range(150):
        scalars = d4pg.update(coin(256, generator))
    probabilities = d4pg.critic(OBS, torch.zeros(1, 1)).softmax(dim=-1)[0].tolist()
    assert probabilities == pytest.approx([0, 0.5, 0, 0, 0.5], abs=0.07)
    assert scalars["q_mean"].item() == pytest.approx(0.5, abs=0.2)  # (2 − 1) / 2
    assert scalars["critic_loss"].item() == pytest.approx(0.693, abs=0.05)  # ln 2, the entropy of a coin


def test_the_loss_is_the_cross_entropy_with_the_projected_target():
    d4pg = make()
    for network in (d4pg.critic, d4pg.target_critic):
        for parameter in network.body[-1].parameters():
            torch.nn.init.zeros_(parameter)  # all atoms alike: Z = Z' = 1/5 on −2, −1, 0, 1, 2
    batch = Batch(OBS, torch.zeros(1, 1), torch.ones(1), torch.tensor([0.5]), OBS)
    # 1 + Z'/2 lies on 0, 0.5, 1, 1.5, 2, each with 1/5: onto 0: 0.3, 1: 0.4, 2: 0.3
    scalars = d4pg.update(batch)
    assert scalars["critic_loss"].item() == pytest.approx(1.60944, abs=1e-4)  # ln 5
    entropy = -(2 * 0.3 * torch.log(torch.tensor(0.3)) + 0.4 * torch.log(torch.tensor(0.4))).item()
    assert scalars["priority"].tolist() == pytest.approx([1.60944 - entropy], abs=1e-4)  # Kullback-Leibler
    assert scalars["td_error"].item() == pytest.approx(1.0, abs=1e-5)  # mean 1 against mean 0


def test_importance_weights_weigh_the_cross_entropies():
    batch = coin(8, torch.Generator().manual_seed(0))
    weighted, alone = make(), make()
    weighted.update(Sample(batch, torch.arange(8), torch.tensor([2.0] * 4 + [0.0] * 4)))
    alone.update(Batch(*(column[:4] for column in batch)))
    for ours, theirs in zip(weighted.critic.parameters(), alone.critic.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_chain_is_worth_its_discounted_sum():
    """Reward 1 for ever at γ = 0.4: 1 / (1 − 0.4) = 5/3, within the atoms' range."""
    d4pg, generator = make(atoms=41, tau=0.3), torch.Generator().manual_seed(0)
    for _ in range(200):
        batch = coin(64, generator)
        d4pg.update(batch._replace(reward=torch.ones(64), discount=torch.full((64,), 0.4)))
    value = d4pg.critic.mean(d4pg.critic(OBS, torch.zeros(1, 1))).item()
    assert value == pytest.approx(5 / 3, abs=0.08)


def test_the_actor_climbs_the_mean_and_leaves_the_critic_alone():
    d4pg, batch = make(critic_lr=0.0), coin(16, torch.Generator().manual_seed(0))
    before = [parameter.detach().clone() for parameter in d4pg.critic.parameters()]

    def mean() -> float:
        return d4pg.critic.mean(d4pg.critic(OBS, d4pg.actor(OBS))).item()

    start = mean()
    for _ in range(20):
        d4pg.update(batch)
    assert mean() > start
    assert all(torch.equal(old, new) for old, new in zip(before, d4pg.critic.parameters(), strict=True))


# -- by hand, where no two of the four networks are alike


def scrambled(*, actor_lr: float = 0.0, critic_lr: float = 0.0, **changes) -> D4PG:
    """D4PG by plain gradient descent, its weights far from the near-zero start, where gradients all but vanish."""
    torch.manual_seed(1)
    d4pg = D4PG(replace(CONFIG, **changes), obs_size=3, action_size=2)
    scramble(d4pg.actor, d4pg.critic, d4pg.target_actor, d4pg.target_critic)
    d4pg.actor_optimizer = Descent(d4pg.actor, actor_lr)
    d4pg.critic_optimizer = Descent(d4pg.critic, critic_lr)
    return d4pg


@torch.no_grad()
def cross_entropy(d4pg: D4PG, batch: Batch, next_action: torch.Tensor) -> float:
    """Mean H(Φ(r + γZ'), Z): atom j gets p_i·(1 − |T z_i − z_j| / Δ) of every atom i less than Δ away (Bellemare 2017).

    The atoms are −2, −1, 0, 1, 2, so Δ = 1.
    """
    atoms = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    moved = (batch.reward[:, None] + batch.discount[:, None] * atoms).clamp(-2, 2)
    nearness = (1 - (moved[:, :, None] - atoms).abs()).clamp(min=0)
    following = d4pg.target_critic(batch.next_obs, next_action).softmax(dim=-1)
    target = torch.einsum("bi,bij->bj", following, nearness)
    return -(target * d4pg.critic(batch.obs, batch.action).log_softmax(dim=-1)).sum(dim=-1).mean().item()


@torch.no_grad()
def worth(d4pg: D4PG, obs: torch.Tensor, action: torch.Tensor) -> float:
    """Mean E[Z(s, a)] over a batch."""
    probabilities = d4pg.critic(obs, action).softmax(dim=-1)
    return (probabilities * torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])).sum(dim=-1).mean().item()


def test_what_follows_is_told_by_the_target_networks():
    d4pg, batch = scrambled(), random_batch()
    with torch.no_grad():
        expected = cross_entropy(d4pg, batch, d4pg.target_actor(batch.next_obs))
        climbed = worth(d4pg, batch.obs, d4pg.actor(batch.obs))
    scalars = d4pg.update(batch)
    assert scalars["critic_loss"].item() == pytest.approx(expected, rel=1e-5)
    assert scalars["actor_loss"].item() == pytest.approx(-climbed, rel=1e-5)


def limited(obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """Motors that do half of what they are told, and drift as they are where they are."""
    return action / 2 + obs[:, :2].tanh() / 4


def test_actions_are_executed_by_the_vehicle():
    d4pg, batch = scrambled(), random_batch()
    d4pg.executed = limited
    with torch.no_grad():
        expected = cross_entropy(d4pg, batch, limited(batch.next_obs, d4pg.target_actor(batch.next_obs)))
        climbed = worth(d4pg, batch.obs, limited(batch.obs, d4pg.actor(batch.obs)))
    scalars = d4pg.update(batch)
    assert scalars["critic_loss"].item() == pytest.approx(expected, rel=1e-5)
    assert scalars["actor_loss"].item() == pytest.approx(-climbed, rel=1e-5)


def test_saturation_costs_the_squared_preactivation():
    with_cost, without = scrambled(actor_lr=1.0, preactivation_cost=0.5), scrambled(actor_lr=1.0)
    difference, expected = steps_for_saturation(with_cost, without)
    assert difference.norm() > 0.1
    assert torch.allclose(difference, expected, atol=1e-4)


def test_targets_follow_by_tau_and_by_nothing_else():
    d4pg, batch = scrambled(tau=0.25, actor_lr=0.1, critic_lr=0.1), random_batch()
    for target, network in ((d4pg.target_actor, d4pg.actor), (d4pg.target_critic, d4pg.critic)):
        before = weights(target)
        d4pg.update(batch)
        assert torch.allclose(weights(target), 0.75 * before + 0.25 * weights(network), atol=1e-6)


def test_gradients_are_clipped_to_the_norm_asked_for():
    batch = random_batch()
    for name in ("actor", "critic"):
        d4pg = scrambled(max_grad_norm=0.005, **{f"{name}_lr": 1.0})
        assert step_of(getattr(d4pg, name), d4pg, batch).norm().item() == pytest.approx(0.005, rel=1e-3)
