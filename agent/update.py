"""What every algorithm's update has in common: weights of a sample, one optimiser's step, and the state to save."""

from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from agent.replay import Batch, Sample

Executed = Callable[[Tensor, Tensor], Tensor]  # (obs, action) -> the action that the motors would get
SATURATED = 0.97  # |action| above which steering or speed has all but no gradient left


def as_asked(obs: Tensor, action: Tensor) -> Tensor:
    """The motors of a vehicle without limits."""
    return action


def weighted(sample: Sample | Batch) -> tuple[Batch, Float[Tensor, " batch"]]:
    """The transitions and their importance weights, 1 where none were given."""
    if isinstance(sample, Batch):
        return sample, torch.ones_like(sample.reward)
    return sample.batch, sample.weight


def adam(parameters: Iterable[nn.Parameter], lr: float, l2: float = 0.0) -> Adam:
    """Adam in one pass over the weights; l2 is added to the gradient (Lillicrap 2015)."""
    return Adam(parameters, lr, weight_decay=l2, fused=True)


def descend(optimizer: Optimizer, loss: Tensor, max_norm: float | None = None) -> Tensor:
    """One step down the loss, of the optimiser's own weights only; returns the gradient's norm before clipping."""
    parameters = optimizer.param_groups[0]["params"]
    gradients = torch.autograd.grad(loss, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    if max_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm, foreach=True)
    optimizer.step()
    return norm


def saturation(action: Tensor) -> Tensor:
    """The fraction of the action's components that are all but at ±1."""
    return (action.detach().abs() > SATURATED).float().mean()


Part = nn.Module | Optimizer | torch.Generator


def flat_state(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """Copies of everything that the parts hold, as `part.name` or `part.index.name`: fit for one safetensors file."""
    found: dict[str, Tensor] = {}
    for part, held in parts.items():
        if isinstance(held, torch.Generator):
            found[part] = held.get_state()
        elif isinstance(held, nn.Module):
            found |= {f"{part}.{name}": tensor.clone() for name, tensor in held.state_dict().items()}
        else:
            state = held.state_dict()["state"]
            found |= {f"{part}.{i}.{name}": tensor.clone() for i in state for name, tensor in state[i].items()}
    return found


def load_flat_state(parts: Mapping[str, Part], state: Mapping[str, Tensor]) -> None:
    """Put back what `flat_state` gave. Raises KeyError or RuntimeError when it is of another shape."""
    for part, held in parts.items():
        if isinstance(held, torch.Generator):
            held.set_state(state[part])
            continue
        own = {name.removeprefix(f"{part}."): tensor for name, tensor in state.items() if name.startswith(f"{part}.")}
        if isinstance(held, nn.Module):
            held.load_state_dict(own)
        else:
            _load_optimizer(held, own)


def _load_optimizer(optimizer: Optimizer, own: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in own.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
