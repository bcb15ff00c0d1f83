"""What every algorithm's update has in common: weights of a sample, one optimiser's step, and the state to save."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from agent.pixels import Encoder
from agent.replay.uniform import Batch, Sample

Precision = Literal["float32", "bfloat16"]
Executed = Callable[[Tensor, Tensor], Tensor]  # (obs, action) -> the action that the motors would get
SATURATED = 0.97  # |action| above which steering or speed has all but no gradient left
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam; Kingma 2015


def as_asked(obs: Tensor, action: Tensor) -> Tensor:
    """The motors of a vehicle without limits."""
    return action


def weighted(sample: Sample | Batch) -> tuple[Batch, Float[Tensor, " batch"]]:
    """The transitions and their importance weights, 1 where none were given."""
    if isinstance(sample, Batch):
        return sample, torch.ones_like(sample.reward)
    return sample.batch, sample.weight


class Chance(NamedTuple):
    """The random numbers of one update, drawn before it, so that the rest can be compiled."""

    shift: Tensor | None  # of the images in obs, if there are any
    next_shift: Tensor | None  # of those in next_obs
    noise: Tensor  # on target actions; of no size where there is none


NO_NOISE = torch.empty(0)


def chance_of(encoder: Encoder, size: int, generator: torch.Generator, noise: Tensor = NO_NOISE) -> Chance:
    """What an update with so many transitions needs."""
    return Chance(encoder.draw(size, generator), encoder.draw(size, generator), noise)


def seen(encoder: Encoder, batch: Batch, chance: Chance) -> Batch:
    """The batch with its images encoded; gradients reach the encoder through obs alone."""
    obs = encoder(batch.obs, chance.shift)
    with torch.no_grad():
        next_obs = encoder(batch.next_obs, chance.next_shift)
    return batch._replace(obs=obs, next_obs=next_obs)


class Adam:
    """Adam (Kingma 2015, algorithm 1) for all weights of some networks; l2 is added to the gradient (Lillicrap 2015).

    Outside a compiled graph it is torch's own fused kernel, which a graph cannot hold; there it is the equations, which
    the compiler fuses into one pass.
    """

    def __init__(self, *networks: nn.Module, lr: float, l2: float = 0.0) -> None:
        self.weights: list[Tensor] = [parameter for network in networks for parameter in network.parameters()]
        self.full_lr, self.l2 = lr, l2
        self.lr = torch.tensor(lr)  # a tensor, so that a compiled graph sees it change
        self.means = [torch.zeros_like(weight, requires_grad=False) for weight in self.weights]
        self.squares = [torch.zeros_like(weight, requires_grad=False) for weight in self.weights]
        self.steps = torch.zeros(())
        self._betas = torch.tensor(BETAS)
        self.decay = torch.ones_like(
            self._betas
        )  # β₁ᵗ, β₂ᵗ: in a graph, powers would be taken anew for every few weights

    def anneal(self, share: float) -> None:
        """Take steps of that share of the full size from now on."""
        self.lr.fill_(share * self.full_lr)

    @torch.no_grad()
    def step(self, gradients: list[Tensor]) -> None:
        """Change every weight by its gradient, in place."""
        self.steps.add_(1)
        self.decay.mul_(self._betas)
        if torch.compiler.is_compiling():
            self._equations(gradients)
            return
        gradients = [in_order_of(*pair) for pair in zip(self.weights, gradients, strict=True)]
        torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]
            self.weights,
            gradients,
            self.means,
            self.squares,
            [],
            [self.steps] * len(self.weights),
            lr=self.lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=self.l2,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def _equations(self, gradients: list[Tensor]) -> None:
        """θ ← θ − α·m̂ / (√v̂ + ε), in the order of Kingma 2015, end of section 2: one division and one root a weight."""
        unbias_1, unbias_2 = 1 - self.decay[0], (1 - self.decay[1]).sqrt()
        for weight, gradient, mean, square in zip(self.weights, gradients, self.means, self.squares, strict=True):
            gradient = gradient + self.l2 * weight if self.l2 else gradient
            mean.lerp_(gradient, 1 - BETAS[0])
            square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            weight.sub_(mean * (self.lr * unbias_2 / unbias_1) / (square.sqrt() + EPSILON * unbias_2))

    def state_dict(self) -> dict[str, Tensor]:
        """The moments and how many steps there were; shares memory."""
        moments = {"mean": self.means, "square": self.squares}
        found = {f"{name}.{i}": tensor for name, tensors in moments.items() for i, tensor in enumerate(tensors)}
        return found | {"steps": self.steps, "decay": self.decay}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there. Raises KeyError or RuntimeError when it is of another shape."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])


def in_order_of(weight: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with its numbers in memory in the order of the weight's.

    The fused kernel pairs them as they lie there, and those of a convolution over images with channels last, too, are
    not in the order of its weights.
    """
    if gradient.stride() == weight.stride():
        return gradient
    return torch.empty_like(weight).copy_(gradient)


def descend(optimizer: Adam, loss: Tensor, max_norm: float | None = None) -> Tensor:
    """One step down the loss, of the optimiser's own weights only; returns the gradient's norm before clipping."""
    gradients = list(torch.autograd.grad(loss, optimizer.weights))
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    if max_norm is not None:
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        gradients = [gradient * scale for gradient in gradients]
    optimizer.step(gradients)
    return norm


def products_in(precision: Precision) -> AbstractContextManager:
    """Where matrix products are in that precision; weights, sums, losses and Adam stay in float32.

    Casts of weights are not kept, as torch.autocast otherwise would: they change in the midst of an update.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)


def saturation(action: Tensor) -> Tensor:
    """The fraction of the action's components that are all but at ±1."""
    return (action.detach().abs() > SATURATED).float().mean()


Part = nn.Module | Adam | torch.Generator


def flat_state(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """Copies of everything that the parts hold, as `part.name`: fit for one safetensors file."""
    found: dict[str, Tensor] = {}
    for part, held in parts.items():
        if isinstance(held, torch.Generator):
            found[part] = held.get_state()
        else:
            found |= {f"{part}.{name}": tensor.detach().clone() for name, tensor in held.state_dict().items()}
    return found


def load_flat_state(parts: Mapping[str, Part], state: Mapping[str, Tensor]) -> None:
    """Put back what `flat_state` gave. Raises KeyError or RuntimeError when it is of another shape."""
    for part, held in parts.items():
        if isinstance(held, torch.Generator):
            held.set_state(state[part])
        else:
            own = f"{part}."
            held.load_state_dict({name.removeprefix(own): x for name, x in state.items() if name.startswith(own)})
