"""Deep deterministic policy gradient (Lillicrap 2015, arXiv 1509.02971), the algorithm of Kendall 2018."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from agent.networks import FINAL_INIT, ONE_PIECE, Activation, Actor, Critic, Layout, Norm
from agent.pixels import Image, encoder_for, seen_by
from agent.replay.uniform import Batch, Sample
from agent.settings import Count, NotNegative, Positive, SettingsError, Share
from agent.targets import inverted, polyak, target_of, td_target
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
class DDPGConfig:
    """Deep deterministic policy gradient."""

    gamma: Share = 0.95  # discount per control period, 2 s ahead at 10 Hz; Kendall 2018 has 0.9 at an unstated rate
    batch_size: Count = 128  # transitions per update; Kendall 2018 has 64
    hidden: tuple[Count, ...] = (128, 128)  # units of the hidden layers of actor and critic
    actor_lr: NotNegative = 3e-4  # Adam's step size; Lillicrap 2015 has 1e-4
    critic_lr: NotNegative = 1e-3  # Adam's step size; Lillicrap 2015
    tau: Share = 0.005  # how far the targets follow per update; Lillicrap 2015 has 1e-3
    max_grad_norm: Positive | None = 1.0  # of the actor's and the critic's gradient; Kendall 2018 has 0.005
    saturation_cure: Literal["preactivation cost", "inverting gradients"] = "preactivation cost"  # against ±1
    preactivation_cost: NotNegative = 3e-2  # penalty on the squared pre-tanh action, if that is the cure
    critic_l2: NotNegative = 0.0  # weight decay of the critic; Lillicrap 2015 has 1e-2
    activation: Activation = "relu"  # of the hidden layers; Lillicrap 2015
    actor_norm: Norm = "layer"  # Lillicrap 2015 has "batch"
    critic_norm: Norm = "layer"  # Lillicrap 2015 has "batch"
    final_init: NotNegative = FINAL_INIT  # bound of the last layers' first weights; Lillicrap 2015


class DDPG:
    """Actor, critic, their targets and one update of all of them.

    The replay holds executed actions, so Q knows no others. A critic asked about an action that the vehicle cannot
    execute would guess, and the actor would climb its guesses; so μ(s) passes through `executed` before Q sees it.
    """

    period = 1  # updates until every network has moved

    def __init__(
        self,
        config: DDPGConfig,
        obs_size: int,
        action_size: int,
        executed: Executed = as_asked,
        layout: Layout = ONE_PIECE,
        image: Image = None,
    ) -> None:
        if "batch" in (config.actor_norm, config.critic_norm) and config.batch_size < 2:
            raise SettingsError(f"batch_size is {config.batch_size}; expected 2 or more with batch normalisation")
        self.config, self.executed = config, executed
        self.encoder, size = encoder_for(obs_size, image)
        sizes = size, action_size, config.hidden
        self.actor = Actor(*sizes, config.actor_norm, config.activation, config.final_init, layout)
        self.critic = Critic(*sizes, config.critic_norm, config.activation, config.final_init, layout)
        self.target_actor = target_of(self.actor)
        self.target_critic = target_of(self.critic)
        self.actor_optimizer = Adam(self.actor, lr=config.actor_lr)
        self.critic_optimizer = Adam(self.encoder.of_critic, self.critic, lr=config.critic_lr, l2=config.critic_l2)
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))  # a child of the weights' own
        self.updates = 0

    @property
    def policy(self) -> nn.Module:
        """What drives: the target actor μ', whose slow average of the weights does not sway from update to update."""
        return seen_by(self.encoder, self.target_actor)

    @property
    def value(self) -> nn.Module:
        """What it is worth to do an action where it has been encoded: Q'(s, a), which goes with μ'."""
        return self.target_critic

    def update(self, sample: Sample | Batch) -> dict[str, Tensor]:
        """One step of the critic, one of the actor, one of the targets; returns scalars to log and |δ| as priority."""
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
        """Descend mean w·(y − Q(s, a))², y = r + γ(1−d)·Q'(s', μ'(s'))."""
        with torch.no_grad():
            next_action = self.executed(batch.next_obs, self.target_actor(batch.next_obs))
            next_value = self.target_critic(batch.next_obs, next_action)
            target = td_target(batch.reward, batch.discount, next_value)
        value = self.critic(batch.obs, batch.action)
        error = target - value
        loss = (weight * error.square()).mean()
        norm = descend(self.critic_optimizer, loss, self.config.max_grad_norm)
        value, error = value.detach(), error.detach().abs()
        return {
            "critic_loss": loss.detach(),
            "critic_grad_norm": norm,
            "q_mean": value.mean(),
            "q_max": value.max(),
            "td_error": error.mean(),
            "priority": error,
        }

    def _improve_actor(self, obs: Tensor) -> dict[str, Tensor]:
        """Climb mean Q(s, μ(s)) without driving μ(s) into ±1, where tanh has no gradient left."""
        preactivation = self.actor.preactivation(obs)
        action = torch.tanh(preactivation)
        if self.config.saturation_cure == "preactivation cost":
            loss = -self._climbed(obs, action) + self.config.preactivation_cost * preactivation.square().mean()
            norm = descend(self.actor_optimizer, loss, self.config.max_grad_norm)
        else:
            action = action.detach().requires_grad_()
            loss = -self._climbed(obs, action)
            (uphill,) = torch.autograd.grad(-loss, action)
            past_tanh = -(inverted(uphill, action.detach()) * preactivation).sum()
            norm = descend(self.actor_optimizer, past_tanh, self.config.max_grad_norm)
        return {"actor_loss": loss.detach(), "actor_grad_norm": norm, "saturation": saturation(action)}

    def _climbed(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.critic(obs, self.executed(obs, action)).mean()

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
