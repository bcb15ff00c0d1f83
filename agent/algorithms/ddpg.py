"""Deep deterministic policy gradient (Lillicrap 2015, arXiv 1509.02971), the algorithm of Kendall 2018."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from agent.networks import Actor, Critic
from agent.replay import Batch
from agent.targets import polyak, target_of, td_target


@dataclass(frozen=True)
class DDPGConfig:
    """Deep deterministic policy gradient."""

    gamma: float = 0.95  # discount per control period, 2 s ahead at 10 Hz; Kendall 2018 has 0.9 at an unstated rate
    batch_size: int = 128  # transitions per update; Kendall 2018 has 64
    hidden: tuple[int, ...] = (128, 128)  # units of the hidden layers of actor and critic
    actor_lr: float = 3e-4  # Adam's step size; Lillicrap 2015 has 1e-4
    critic_lr: float = 1e-3  # Adam's step size; Lillicrap 2015
    tau: float = 0.005  # how far the targets follow per update; Lillicrap 2015 has 1e-3
    max_grad_norm: float = 1.0  # of the actor's and the critic's gradient
    preactivation_cost: float = 3e-2  # penalty on the squared pre-tanh action, against saturation at ±1


Executed = Callable[[Tensor, Tensor], Tensor]  # (obs, action) -> the action that the motors would get


def as_asked(obs: Tensor, action: Tensor) -> Tensor:
    """The motors of a vehicle without limits."""
    return action


class DDPG:
    """Actor, critic, their targets and one update of all of them.

    The replay holds executed actions, so Q knows no others. A critic asked about an action that the vehicle cannot
    execute would guess, and the actor would climb its guesses; so μ(s) passes through `executed` before Q sees it.
    """

    def __init__(self, config: DDPGConfig, obs_size: int, action_size: int, executed: Executed = as_asked) -> None:
        self.config, self.executed = config, executed
        self.actor = Actor(obs_size, action_size, config.hidden)
        self.critic = Critic(obs_size, action_size, config.hidden)
        self.target_actor = target_of(self.actor)
        self.target_critic = target_of(self.critic)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), config.actor_lr)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), config.critic_lr)

    @property
    def policy(self) -> Actor:
        """What drives: the target actor μ', whose slow average of the weights does not sway from update to update."""
        return self.target_actor

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the critic, one of the actor, one of the targets; returns scalars to log."""
        critic_loss, value = self._critic_loss(batch)
        self._descend(self.critic_optimizer, critic_loss)
        actor_loss = self._actor_loss(batch)
        self._descend(self.actor_optimizer, actor_loss)
        polyak(self.target_critic, self.critic, self.config.tau)
        polyak(self.target_actor, self.actor, self.config.tau)
        return {
            "critic_loss": critic_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "q_mean": value.detach().mean(),
        }

    def _critic_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """mean (y − Q(s, a))², y = r + γ(1−d)·Q'(s', μ'(s'))."""
        with torch.no_grad():
            next_action = self.executed(batch.next_obs, self.target_actor(batch.next_obs))
            next_value = self.target_critic(batch.next_obs, next_action)
            target = td_target(batch.reward, batch.discount, next_value)
        value = self.critic(batch.obs, batch.action)
        return F.mse_loss(value, target), value

    def _actor_loss(self, batch: Batch) -> Tensor:
        """−mean Q(s, μ(s)), plus the cost of saturation."""
        preactivation = self.actor.preactivation(batch.obs)
        value = self.critic(batch.obs, self.executed(batch.obs, torch.tanh(preactivation)))
        return -value.mean() + self.config.preactivation_cost * preactivation.square().mean()

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        parameters = optimizer.param_groups[0]["params"]
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm)
        optimizer.step()
