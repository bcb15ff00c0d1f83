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
    """One-step bootstrapped return, y = r + γ(1−d)·Q'(s', μ'(s')) (Lillicrap 2015, eq. 5).

    discount is γ where the episode goes on or ran out of time, 0 where it terminated.
    """
    return reward + discount * next_value


@torch.no_grad()
def polyak(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Let the target follow, θ' ← τθ + (1−τ)θ' (Lillicrap 2015, algorithm 1)."""
    for theta_target, theta in zip(target.parameters(), source.parameters(), strict=True):
        theta_target.lerp_(theta, tau)


def target_of(network: Network) -> Network:
    """Return a copy with the same weights and gradients switched off."""
    return copy.deepcopy(network).requires_grad_(False)
