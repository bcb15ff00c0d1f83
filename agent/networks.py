"""Actors and critics: small multilayer perceptrons on one flat observation vector."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from jaxtyping import Float
from torch import Tensor, nn

FINAL_INIT = 3e-3  # Lillicrap 2015, section 7: first actions and values near zero

Norm = Literal["none", "layer", "batch"]
Activation = Literal["relu", "elu", "tanh"]
NORMS = {"none": nn.Identity, "layer": nn.LayerNorm, "batch": nn.BatchNorm1d}
ACTIVATIONS = {"relu": partial(nn.ReLU, inplace=True), "elu": nn.ELU, "tanh": nn.Tanh}  # in place: no memory to fetch


def mlp(
    sizes: Sequence[int],
    norm: Norm = "layer",
    activation: Activation = "relu",
    dropout: float = 0.0,
    final_init: float = FINAL_INIT,
) -> nn.Sequential:
    """Linear, dropout, norm and activation for every hidden size, then a linear layer that starts near zero."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs)]
        layers += [nn.Dropout(dropout)] if dropout else []
        layers += [NORMS[norm](outputs)] if norm != "none" else []
        layers += [ACTIVATIONS[activation]()]
    last = nn.Linear(sizes[-2], sizes[-1])
    nn.init.uniform_(last.weight, -final_init, final_init)
    nn.init.uniform_(last.bias, -final_init, final_init)
    return nn.Sequential(*layers, last)


def state_norm(obs_size: int, norm: Norm) -> nn.Module:
    """What the observation goes through first: batch normalisation if the network has any (Lillicrap 2015)."""
    return nn.BatchNorm1d(obs_size) if norm == "batch" else nn.Identity()


class Actor(nn.Module):
    """The deterministic policy a = tanh(f(s)), every component in [-1, 1]."""

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int],
        norm: Norm = "layer",
        activation: Activation = "relu",
        final_init: float = FINAL_INIT,
    ) -> None:
        super().__init__()
        self.state = state_norm(obs_size, norm)
        self.body = mlp([obs_size, *hidden, action_size], norm, activation, final_init=final_init)

    def preactivation(self, obs: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch action"]:
        """f(s), the action before tanh."""
        return self.body(self.state(obs))

    def forward(self, obs: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch action"]:
        """μ(s)."""
        return torch.tanh(self.preactivation(obs))


class Critic(nn.Module):
    """The action value Q(s, a); nothing squashes its output.

    With batch normalisation only the state is normalised: Lillicrap 2015 has it in all layers before the action enters,
    which here is the first one.
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int],
        norm: Norm = "layer",
        activation: Activation = "relu",
        final_init: float = FINAL_INIT,
    ) -> None:
        super().__init__()
        self.state = state_norm(obs_size, norm)
        within: Norm = "none" if norm == "batch" else norm
        self.body = mlp([obs_size + action_size, *hidden, 1], within, activation, final_init=final_init)

    def forward(
        self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch action"]
    ) -> Float[Tensor, " batch"]:
        """Q(s, a)."""
        return self.body(torch.cat([self.state(obs), action], dim=-1)).squeeze(-1)


class CategoricalCritic(nn.Module):
    """The distribution of the return Z(s, a) on fixed atoms (Bellemare 2017)."""

    atoms: Tensor

    def __init__(
        self, obs_size: int, action_size: int, hidden: Sequence[int], atoms: Tensor, norm: Norm = "layer"
    ) -> None:
        super().__init__()
        self.register_buffer("atoms", atoms)
        self.body = mlp([obs_size + action_size, *hidden, len(atoms)], norm)

    def forward(
        self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch action"]
    ) -> Float[Tensor, "batch atoms"]:
        """The logits of Z(s, a)."""
        return self.body(torch.cat([obs, action], dim=-1))

    def mean(self, logits: Float[Tensor, "batch atoms"]) -> Float[Tensor, " batch"]:
        """E[Z]."""
        return logits.softmax(dim=-1) @ self.atoms


class Critics(nn.Module):
    """N independent action values Q_i(s, a) in one module: every layer is one batched product for all of them.

    Weights are (critics, inputs, outputs) and start as those of N separate networks would.
    """

    def __init__(
        self,
        count: int,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int],
        norm: Literal["none", "layer"] = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = [obs_size + action_size, *hidden, 1]
        bounds = [1 / math.sqrt(inputs) for inputs in sizes[:-2]] + [FINAL_INIT]  # as nn.Linear, but the last
        self.dropout = dropout
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for (inputs, outputs), bound in zip(pairwise(sizes), bounds, strict=True):
            self.weights.append(torch.empty(count, inputs, outputs).uniform_(-bound, bound))
            self.biases.append(torch.empty(count, 1, outputs).uniform_(-bound, bound))
        normed = hidden if norm == "layer" else []
        self.scales = nn.ParameterList([torch.ones(count, 1, size) for size in normed])
        self.shifts = nn.ParameterList([torch.zeros(count, 1, size) for size in normed])

    def forward(
        self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch action"]
    ) -> Float[Tensor, "critics batch"]:
        """All Q_i(s, a)."""
        return self._values(obs, action, len(self.weights[0]))

    def first(self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch action"]) -> Float[Tensor, " batch"]:
        """Q_1(s, a), which the actor climbs; the others are not computed."""
        return self._values(obs, action, 1)[0]

    def _values(self, obs: Tensor, action: Tensor, count: int) -> Tensor:
        x = torch.cat([obs, action], dim=-1).expand(count, -1, -1)
        *hidden, (last, bias) = [(w[:count], b[:count]) for w, b in zip(self.weights, self.biases, strict=True)]
        for i, (weight, shift) in enumerate(hidden):
            x = self._between(torch.baddbmm(shift, x, weight), i)
        return (x * last.mT).sum(dim=-1) + bias[..., 0]  # a product with one column is slow as a matrix product

    def _between(self, x: Tensor, i: int) -> Tensor:
        """Dropout, LayerNorm and ReLU, in the order of DroQ (Hiraoka 2021)."""
        if self.dropout:
            x = F.dropout(x, self.dropout, self.training)
        if len(self.scales):
            x = F.layer_norm(x, x.shape[-1:]) * self.scales[i][: len(x)] + self.shifts[i][: len(x)]
        return F.relu(x, inplace=True)
