"""Actors and critics: small multilayer perceptrons on a flat observation, whose pieces may enter at any layer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu_, "elu": F.elu, "tanh": torch.tanh}


class LayoutError(ValueError):
    """An observation's part or an action enters a layer that there is not, or nothing enters the first."""

    exit_code = 2


@dataclass(frozen=True)
class Layout:
    """Which layer each piece of an observation, and the action, enters: 0 is the first, 1 the second hidden layer, ….

    As in the networks for parkour (Heess 2017, arXiv 1707.02286, section 4.1), where terrain and proprioception are
    kept apart at first, and in Lillicrap 2015, whose critic takes the action in at its second layer.
    """

    pieces: tuple[tuple[int, int], ...] = ()  # (numbers, layer) of consecutive pieces; () = all enter the first layer
    action: int = 0  # layer of a critic that the action enters

    def entering(self, obs: Tensor, action: Tensor | None = None) -> list[Tensor]:
        """What enters the first, second, … layer; obs (…, o) and action (…, a) are joined in this order."""
        parts = obs.split([size for size, _ in self.pieces], dim=-1) if self.pieces else (obs,)
        layers = [layer for _, layer in self.pieces] if self.pieces else [0]
        if action is not None:
            parts, layers = (*parts, action), [*layers, self.action]
        nothing = obs[..., :0]
        return [
            torch.cat([part for part, at in zip(parts, layers, strict=True) if at == layer] or [nothing], dim=-1)
            for layer in range(max(layers) + 1)
        ]

    def sizes(self, obs_size: int, action_size: int = 0) -> list[int]:
        """How many numbers enter the first, second, … layer of a network, an actor's without action_size."""
        action = torch.empty(action_size) if action_size else None
        return [len(part) for part in self.entering(torch.empty(obs_size), action)]


ONE_PIECE = Layout()


class Body(nn.Sequential):
    """A multilayer perceptron, some of whose inputs may enter at later linear layers."""

    def forward(self, input: Tensor, *later: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Join what is left of `later`, one at a time, to what reaches the second, third, … linear layer."""
        x, waiting = self[0](input), list(later)
        for module in list(self)[1:]:
            if waiting and isinstance(module, nn.Linear):
                x = torch.cat([x, waiting.pop(0)], dim=-1)
            x = module(x)
        return x


class Exact(nn.Linear):
    """A linear layer whose product is never in bfloat16, in which a value of 600 could only change by steps of 4."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """In the precision of the weights."""
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.to(self.weight.dtype))


def mlp(
    entering: Sequence[int],
    hidden: Sequence[int],
    outputs: int,
    norm: Norm = "layer",
    activation: Activation = "relu",
    final_init: float = FINAL_INIT,
    final_kind: type[nn.Linear] = nn.Linear,
    normed: int | None = None,
) -> Body:
    """Linear, norm and activation for every hidden size, then a linear layer that starts near zero.

    entering: how many inputs enter the first, second, … linear layer.
    normed: how many hidden layers, from the first, have the norm; None = all.
    """
    layers: list[nn.Module] = []
    *within, last = widths(entering, hidden, outputs)
    for i, (inputs, size) in enumerate(within):
        layers += [nn.Linear(inputs, size)]
        layers += [NORMS[norm](size)] if norm != "none" and (normed is None or i < normed) else []
        layers += [ACTIVATIONS[activation]()]
    final = final_kind(*last)
    nn.init.uniform_(final.weight, -final_init, final_init)
    nn.init.uniform_(final.bias, -final_init, final_init)
    return Body(*layers, final)


def widths(entering: Sequence[int], hidden: Sequence[int], outputs: int) -> list[tuple[int, int]]:
    """(inputs, outputs) of every linear layer. Raises LayoutError for layers that cannot be entered."""
    if len(entering) > len(hidden) + 1:
        raise LayoutError(f"something enters layer {len(entering) - 1}; expected at most {len(hidden)}, the last")
    if entering[0] == 0:
        raise LayoutError("nothing enters layer 0, the first; expected at least one part of the observation there")
    more = [*entering[1:], *[0] * len(hidden)]
    inputs = [entering[0], *(size + extra for size, extra in zip(hidden, more, strict=False))]
    return list(zip(inputs, [*hidden, outputs], strict=True))


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
        layout: Layout = ONE_PIECE,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.state = state_norm(obs_size, norm)
        self.body = mlp(layout.sizes(obs_size), hidden, action_size, norm, activation, final_init=final_init)

    def preactivation(self, obs: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch action"]:
        """f(s), the action before tanh."""
        return self.body(*self.layout.entering(self.state(obs))).to(obs.dtype)  # out of bfloat16

    def forward(self, obs: Float[Tensor, "batch obs"]) -> Float[Tensor, "batch action"]:
        """μ(s)."""
        return torch.tanh(self.preactivation(obs))


class Critic(nn.Module):
    """The action value Q(s, a); nothing squashes its output.

    Batch normalisation is of the state and of all layers before the action enters (Lillicrap 2015, section 3), which it
    does in the first one unless the layout says otherwise.
    """

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int],
        norm: Norm = "layer",
        activation: Activation = "relu",
        final_init: float = FINAL_INIT,
        layout: Layout = ONE_PIECE,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.state = state_norm(obs_size, norm)
        sizes = layout.sizes(obs_size, action_size)
        normed = layout.action if norm == "batch" else None
        self.body = mlp(sizes, hidden, 1, norm, activation, final_init, Exact, normed)

    def forward(
        self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch action"]
    ) -> Float[Tensor, " batch"]:
        """Q(s, a)."""
        return self.body(*self.layout.entering(self.state(obs), action)).squeeze(-1)


class CategoricalCritic(nn.Module):
    """The distribution of the return Z(s, a) on fixed atoms (Bellemare 2017)."""

    atoms: Tensor

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        hidden: Sequence[int],
        atoms: Tensor,
        norm: Literal["none", "layer"] = "layer",
        activation: Activation = "relu",
        layout: Layout = ONE_PIECE,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.register_buffer("atoms", atoms)
        self.body = mlp(layout.sizes(obs_size, action_size), hidden, len(atoms), norm, activation, final_kind=Exact)

    def forward(
        self, obs: Float[Tensor, "batch obs"], action: Float[Tensor, "batch action"]
    ) -> Float[Tensor, "batch atoms"]:
        """The logits of Z(s, a)."""
        return self.body(*self.layout.entering(obs, action))

    def mean(self, logits: Float[Tensor, "batch atoms"]) -> Float[Tensor, " batch"]:
        """E[Z]."""
        return self.expectation(logits.softmax(dim=-1))

    def expectation(self, probabilities: Float[Tensor, "batch atoms"]) -> Float[Tensor, " batch"]:
        """E[Z] of such probabilities; no matrix product, which could be in bfloat16."""
        return (probabilities * self.atoms).sum(dim=-1)


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
        activation: Activation = "relu",
        layout: Layout = ONE_PIECE,
    ) -> None:
        super().__init__()
        sizes = widths(layout.sizes(obs_size, action_size), hidden, 1)
        bounds = [1 / math.sqrt(inputs) for inputs, _ in sizes[:-1]] + [FINAL_INIT]  # as nn.Linear, but the last
        self.layout, self.dropout, self.activation = layout, dropout, FUNCTIONS[activation]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for (inputs, outputs), bound in zip(sizes, bounds, strict=True):
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
        x, *later = [part.expand(count, -1, -1) for part in self.layout.entering(obs, action)]
        *hidden, (last, bias) = [(w[:count], b[:count]) for w, b in zip(self.weights, self.biases, strict=True)]
        for i, (weight, shift) in enumerate(hidden):
            x = self._between(torch.bmm(x, weight).add_(shift), i)
            x = torch.cat([x, later[i]], dim=-1) if i < len(later) else x
        return (x * last.mT).sum(dim=-1) + bias[..., 0]  # a product with one column is slow as a matrix product

    def _between(self, x: Tensor, i: int) -> Tensor:
        """Dropout, LayerNorm and the activation, in the order of DroQ (Hiraoka 2021)."""
        if self.dropout:
            x = F.dropout(x, self.dropout, self.training)
        if len(self.scales):
            x = F.layer_norm(x, x.shape[-1:]) * self.scales[i][: len(x)] + self.shifts[i][: len(x)]
        return self.activation(x)
