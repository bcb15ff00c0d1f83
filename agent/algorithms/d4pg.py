"""Distributed distributional deterministic policy gradients (Barth-Maron 2018, arXiv 1804.08617): its learner.

The n-step returns and priorities come with the sample, the many actors with the trainer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from agent.networks import ONE_PIECE, Activation, Actor, CategoricalCritic, Layout
from agent.pixels import Image, encoder_for, seen_by
from agent.replay.uniform import Batch, Sample
from agent.settings import Count, Finite, NotNegative, Positive, Share
from agent.targets import polyak, project, target_of
from agent.update import (
    Adam,
    Chance,
    Executed,
    Part,
    as_asked,
    chance_of,
    descend,
    flat_state,
    load_flat_state,
    saturation,
    seen,
    weighted,
)


@dataclass(frozen=True)
class D4PGConfig:
    """Distributed distributional deterministic policy gradients."""

    gamma: Share = 0.99  # discount per step; Barth-Maron 2018
    batch_size: Count = 256  # transitions per update; Barth-Maron 2018
    hidden: tuple[Count, ...] = (256, 256)  # units of the hidden layers of actor and critic; as TD3
    actor_lr: NotNegative = 1e-4  # Adam's step size; Barth-Maron 2018
    critic_lr: NotNegative = 1e-4  # Adam's step size; Barth-Maron 2018
    tau: Share = 0.005  # how far the targets follow per update; Barth-Maron 2018 copies them every 100 updates
    v_min: Finite = -150.0  # the least return of the atoms; dm_control's D4PG
    v_max: Finite = 150.0  # the greatest; dm_control's D4PG
    atoms: Annotated[int, Meta(ge=2)] = 101  # dm_control's D4PG
    max_grad_norm: Positive | None = None  # of the actor's and the critic's gradient; Barth-Maron 2018 clips nothing
    preactivation_cost: NotNegative = 0.0  # penalty on the squared pre-tanh action, against saturation at ±1
    activation: Activation = "relu"  # of the hidden layers
    actor_norm: Literal["none", "layer"] = "layer"  # Acme (Hoffman 2020)
    critic_norm: Literal["none", "layer"] = "layer"  # Acme (Hoffman 2020)


class Expected(nn.Module):
    """(obs, action) → the mean of the distribution that the critic tells, (batch,)."""

    def __init__(self, critic: CategoricalCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """E[Z(s, a)]."""
        return self.critic.mean(self.critic(obs, action))


class D4PG:
    """Actor, categorical critic, their targets and one update of all of them; `executed` is explained in DDPG."""

    period = 1  # updates until every network has moved

    def __init__(
        self,
        config: D4PGConfig,
        obs_size: int,
        action_size: int,
        executed: Executed = as_asked,
        layout: Layout = ONE_PIECE,
        image: Image = None,
    ) -> None:
        self.config, self.executed = config, executed
        self.encoder, size = encoder_for(obs_size, image)
        sizes = size, action_size, config.hidden
        atoms = torch.linspace(config.v_min, config.v_max, config.atoms)
        self.actor = Actor(*sizes, config.actor_norm, config.activation, layout=layout)
        self.critic = CategoricalCritic(*sizes, atoms, config.critic_norm, config.activation, layout)
        self.target_actor = target_of(self.actor)
        self.target_critic = target_of(self.critic)
        self.actor_optimizer = Adam(self.actor, lr=config.actor_lr)
        self.critic_optimizer = Adam(self.encoder.of_critic, self.critic, lr=config.critic_lr)
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))  # a child of the weights' own
        self.updates = 0

    @property
    def policy(self) -> nn.Module:
        """What drives: μ."""
        return seen_by(self.encoder, self.actor)

    @property
    def value(self) -> nn.Module:
        """What it is worth to do an action where it has been encoded: E[Z(s, a)]."""
        return Expected(self.critic)

    def update(self, sample: Sample | Batch) -> dict[str, Tensor]:
        """One step of the critic, one of the actor, one of the targets; returns scalars to log and priorities."""
        self.updates += 1
        return self.learn(*weighted(sample), self.chance(sample))

    def chance(self, sample: Sample | Batch) -> Chance:
        """The random numbers of an update with this sample."""
        batch, _ = weighted(sample)
        return chance_of(self.encoder, len(batch.reward), self.generator)

    def learn(self, batch: Batch, weight: Tensor, chance: Chance, actor: bool = True) -> dict[str, Tensor]:
        """The update itself, which can be compiled; `actor` is for algorithms that delay it."""
        batch = seen(self.encoder, batch, chance)
        scalars = self._improve_critic(batch, weight) | self._improve_actor(batch.obs.detach())
        polyak(self.target_critic, self.critic, self.config.tau)
        polyak(self.target_actor, self.actor, self.config.tau)
        return scalars

    def _improve_critic(self, batch: Batch, weight: Tensor) -> dict[str, Tensor]:
        """Descend mean w·H(Φ(r + γⁿ Z'(s', μ'(s'))), Z(s, a)); the priority is the KL divergence (Hessel 2018)."""
        with torch.no_grad():
            next_action = self.executed(batch.next_obs, self.target_actor(batch.next_obs))
            following = self.target_critic(batch.next_obs, next_action).softmax(dim=-1)
            target = project(following, batch.reward, batch.discount, self.critic.atoms)
        logits = self.critic(batch.obs, batch.action)
        cross_entropy = -(target * logits.log_softmax(dim=-1)).sum(dim=-1)
        loss = (weight * cross_entropy).mean()
        norm = descend(self.critic_optimizer, loss, self.config.max_grad_norm)
        value = self.critic.mean(logits.detach())
        return {
            "critic_loss": loss.detach(),
            "critic_grad_norm": norm,
            "q_mean": value.mean(),
            "q_max": value.max(),
            "td_error": (self.critic.expectation(target) - value).abs().mean(),
            "priority": (cross_entropy.detach() + torch.xlogy(target, target).sum(dim=-1)).clamp(min=0),
        }

    def _improve_actor(self, obs: Tensor) -> dict[str, Tensor]:
        """Climb mean E[Z(s, μ(s))]."""
        preactivation = self.actor.preactivation(obs)
        action = torch.tanh(preactivation)
        loss = -self.critic.mean(self.critic(obs, self.executed(obs, action))).mean()
        loss = loss + self.config.preactivation_cost * preactivation.square().mean()
        norm = descend(self.actor_optimizer, loss, self.config.max_grad_norm)
        return {"actor_loss": loss.detach(), "actor_grad_norm": norm, "saturation": saturation(action)}

    @property
    def _parts(self) -> dict[str, Part]:
        return {
            "encoder": self.encoder,
            "actor": self.actor,
            "critic": self.critic,
            "target_actor": self.target_actor,
            "target_critic": self.target_critic,
            "actor_optimizer": self.actor_optimizer,
            "critic_optimizer": self.critic_optimizer,
            "generator": self.generator,
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all that an update depends on, as flat names."""
        return flat_state(self._parts) | {"updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there; the next update is bit-identical on the same machine."""
        load_flat_state(self._parts, state)
        self.updates = int(state["updates"])
