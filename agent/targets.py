"""What the critic learns from, and how target networks follow; pure functions on tensors."""

import copy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def td_target(
    reward: Float[Tensor, " batch"], discount: Float[Tensor, " batch"], next_value: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Bootstrapped return, y = r + γ(1−d)·Q'(s', μ'(s')) (Lillicrap 2015, eq. 5).

    discount is γ (γⁿ after n steps) where the episode goes on or ran out of time, 0 where it terminated.
    """
    return reward + discount * next_value


def project(
    probabilities: Float[Tensor, "batch atoms"],
    reward: Float[Tensor, " batch"],
    discount: Float[Tensor, " batch"],
    atoms: Float[Tensor, " atoms"],
) -> Float[Tensor, "batch atoms"]:
    """The distribution of r + γZ' on the atoms again: Φ T Z' (Bellemare 2017, algorithm 1).

    Each moved atom gives its probability to its two neighbours in proportion to their nearness; what falls outside
    goes to the ends. atoms are equally spaced and ascending.
    """
    moved = (reward[:, None] + discount[:, None] * atoms).clamp(atoms[0], atoms[-1])
    last = len(atoms) - 1
    position = ((moved - atoms[0]) * (last / (atoms[-1] - atoms[0]))).clamp(0, last)  # rounding must not lead outside
    lower = position.floor().clamp(max=last - 1)
    to_upper = probabilities * (position - lower)
    index = lower.long()
    onto = torch.zeros_like(probabilities).scatter_add_(1, index, probabilities - to_upper)
    return onto.scatter_add_(1, index + 1, to_upper)


def smoothing_noise(
    action: Float[Tensor, "batch action"], sigma: float, clip: float, generator: torch.Generator
) -> Float[Tensor, "batch action"]:
    """ε ~ clip(N(0, σ), −c, c), which is added to target actions of that shape (Fujimoto 2018, eq. 14)."""
    if sigma == 0:
        return torch.zeros_like(action)
    return torch.empty_like(action).normal_(0.0, sigma, generator=generator).clamp_(-clip, clip)


def inverted(
    gradient: Float[Tensor, "batch action"], action: Float[Tensor, "batch action"]
) -> Float[Tensor, "batch action"]:
    """∇_a Q scaled down towards the bound that it points to, ±1 (Hausknecht & Stone 2016, eq. 11)."""
    return gradient * torch.where(gradient > 0, 1 - action, 1 + action) / 2


@torch.no_grad()
def polyak(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Let the target follow, θ' ← τθ + (1−τ)θ' (Lillicrap 2015, algorithm 1); running statistics are copied."""
    followers, leaders = tuple(target.parameters()), tuple(source.parameters())
    torch._foreach_lerp_(followers, leaders, tau)  # pyright: ignore[reportPrivateImportUsage]
    for followed, newest in zip(target.buffers(), source.buffers(), strict=True):
        followed.copy_(newest)


def target_of(network: Network) -> Network:
    """Return a copy with the same weights, gradients switched off and batch statistics as they are."""
    target = copy.deepcopy(network).requires_grad_(False)
    for module in target.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    return target
