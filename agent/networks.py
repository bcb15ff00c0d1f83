"""The actor and the critic: small multilayer perceptrons on one flat observation vector."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

FINAL_INIT = 3e-3  # Lillicrap 2015, section 7: first actions and values near zero


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear, LayerNorm and ReLU for every hidden size, then a linear layer that starts near zero."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU()]
    last = nn.Linear(sizes[-2], sizes[-1])
    nn.init.uniform_(last.weight, -FINAL_INIT, FINAL_INIT)
    nn.init.uniform_(last.bias, -FINAL_INIT, FINAL_INIT)
    return nn.Sequential(*layers, last)


class Actor(nn.Module):
    """The deterministic policy a = tanh(f(s)), every component in [-1, 1]."""

    def __init__(self, obs_size: int, action_size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.body = mlp([obs_size, *hidden, action_size])

    def preactivation(self, obs: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch action"]:
        """f(s), the action before tanh."""
        return self.body(obs)

    def forward(self, obs: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch action"]:
        """μ(s)."""
        return torch.tanh(self.body(obs))


class Critic(nn.Module):
    """The action value Q(s, a); nothing squashes its output."""

    def __init__(self, obs_size: int, action_size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.body = mlp([obs_size + action_size, *hidden, 1])

    def forward(
        self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch action"]
    ) -> Float[Tensor, " batch"]:
        """Q(s, a)."""
        return self.body(torch.cat([obs, action], dim=-1)).squeeze(-1)
