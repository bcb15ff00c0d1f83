"""Twin delayed deep deterministic policy gradient (Fujimoto 2018, arXiv 1802.09477)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from agent.networks import ONE_PIECE, Activation, Actor, Critics, Layout
from agent.pixels import Image, encoder_for, seen_by
from agent.replay.uniform import Batch, Sample
from agent.settings import Count, NotNegative, Positive, Share
from agent.targets import polyak, smoothing_noise, target_of, td_target
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
class TD3Config:
    """Twin delayed deep deterministic policy gradient; with critics 1, smoothing 0 and delay 1 it is DDPG."""

    gamma: Share = 0.99  # discount per step; Fujimoto 2018
    batch_size: Count = 256  # transitions per update; the authors' code
    hidden: tuple[Count, ...] = (256, 256)  # units of the hidden layers of actor and critics; the authors' code
    actor_lr: NotNegative = 3e-4  # Adam's step size; the authors' code
    critic_lr: NotNegative = 3e-4  # Adam's step size; the authors' code
    tau: Share = 0.005  # how far the targets follow; Fujimoto 2018
    critics: Count = 2  # whose least value is believed; Fujimoto 2018
    smoothing: NotNegative = 0.2  # standard deviation of the noise on target actions; Fujimoto 2018
    smoothing_clip: NotNegative = 0.5  # bound of that noise; Fujimoto 2018
    delay: Count = 2  # updates of the critics for one of the actor and the targets; Fujimoto 2018
    max_grad_norm: Positive | None = None  # Fujimoto 2018 clips nothing
    preactivation_cost: NotNegative = 0.0  # penalty on the squared pre-tanh action, against saturation at ±1
    activation: Activation = "relu"  # of the hidden layers; Fujimoto 2018
    actor_norm: Literal["none", "layer"] = "none"  # Fujimoto 2018 has none
    critic_norm: Literal["none", "layer"] = "none"  # DroQ (Hiraoka 2021) has "layer"
    dropout: Share = 0.0  # in the critics, drawn from torch's own generator; DroQ has 0.01


class Least(nn.Module):
    """(obs, action) → the least of what the critics say, (batch,)."""

    def __init__(self, critics: Critics) -> None:
        super().__init__()
        self.critics = critics

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """min_i Q_i(s, a)."""
        return self.critics(obs, action).amin(dim=0)


class TD3:
    """Actor, N critics, their targets and one update of all of them; `executed` is explained in DDPG."""

    def __init__(
        self,
        config: TD3Config,
        obs_size: int,
        action_size: int,
        executed: Executed = as_asked,
        layout: Layout = ONE_PIECE,
        image: Image = None,
    ) -> None:
        self.config, self.executed = config, executed
        self.encoder, size = encoder_for(obs_size, image)
        sizes = size, action_size, config.hidden
        self.actor = Actor(*sizes, config.actor_norm, config.activation, layout=layout)
        self.critics = Critics(config.critics, *sizes, config.critic_norm, config.dropout, config.activation, layout)
        self.target_actor = target_of(self.actor)
        self.target_critics = target_of(self.critics)
        self.actor_optimizer = Adam(self.actor, lr=config.actor_lr)
        self.critic_optimizer = Adam(self.encoder.of_critic, self.critics, lr=config.critic_lr)
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))  # a child of the weights' own
        self.updates = 0

    @property
    def period(self) -> int:
        """Updates until every network has moved."""
        return self.config.delay

    @property
    def policy(self) -> nn.Module:
        """What drives: μ."""
        return seen_by(self.encoder, self.actor)

    @property
    def value(self) -> nn.Module:
        """What it is worth to do an action where it has been encoded: the least Q_i(s, a), which is believed."""
        return Least(self.critics)

    def update(self, sample: Sample | Batch) -> dict[str, Tensor]:
        """One step of the critics, every `delay` steps one of the actor and the targets.

        Returns scalars to log, the actor's from its latest step, and the critics' mean |δ| as priority.
        """
        self.updates += 1
        return self.learn(*weighted(sample), self.chance(sample), actor=self.updates % self.period == 0)

    def chance(self, sample: Sample | Batch) -> Chance:
        """The random numbers of an update with this sample; ε ~ clip(N(0, σ), −c, c) for the target actions."""
        batch, _ = weighted(sample)
        noise = smoothing_noise(batch.action, self.config.smoothing, self.config.smoothing_clip, self.generator)
        return chance_of(self.encoder, len(batch.reward), self.generator, noise)

    def learn(self, batch: Batch, weight: Tensor, chance: Chance, actor: bool) -> dict[str, Tensor]:
        """The update itself, which can be compiled."""
        batch = seen(self.encoder, batch, chance)
        scalars = self._improve_critics(batch, weight, chance.noise)
        if actor:
            scalars |= self._improve_actor(batch.obs.detach())
            polyak(self.target_critics, self.critics, self.config.tau)
            polyak(self.target_actor, self.actor, self.config.tau)
        return scalars

    def _improve_critics(self, batch: Batch, weight: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Descend Σ_i mean w·(y − Q_i(s, a))², y = r + γ(1−d)·min_i Q'_i(s', clip(μ'(s') + ε))."""
        with torch.no_grad():
            next_action = self.executed(batch.next_obs, (self.target_actor(batch.next_obs) + noise).clamp(-1, 1))
            next_value = self.target_critics(batch.next_obs, next_action).amin(dim=0)
            target = td_target(batch.reward, batch.discount, next_value)
        values = self.critics(batch.obs, batch.action)
        errors = target - values
        loss = (weight * errors.square()).sum() / len(weight)
        norm = descend(self.critic_optimizer, loss, self.config.max_grad_norm)
        values, error = values.detach(), errors.detach().abs().mean(dim=0)
        return {
            "critic_loss": loss.detach(),
            "critic_grad_norm": norm,
            "q_mean": values.mean(),
            "q_max": values.max(),
            "td_error": error.mean(),
            "priority": error,
        }

    def _improve_actor(self, obs: Tensor) -> dict[str, Tensor]:
        """Climb mean Q_1(s, μ(s))."""
        preactivation = self.actor.preactivation(obs)
        action = torch.tanh(preactivation)
        loss = -self.critics.first(obs, self.executed(obs, action)).mean()
        loss = loss + self.config.preactivation_cost * preactivation.square().mean()
        norm = descend(self.actor_optimizer, loss, self.config.max_grad_norm)
        return {"actor_loss": loss.detach(), "actor_grad_norm": norm, "saturation": saturation(action)}

    @property
    def _parts(self) -> dict[str, Part]:
        return {
            "encoder": self.encoder,
            "actor": self.actor,
            "critics": self.critics,
            "target_actor": self.target_actor,
            "target_critics": self.target_critics,
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
