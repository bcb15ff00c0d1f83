"""D4PG's distributional critic learns whole distributions, and the actor climbs their mean."""

from dataclasses import replace

import pytest
import torch

from agent.algorithms.d4pg import D4PG, D4PGConfig
from agent.replay.uniform import Batch, Sample

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
