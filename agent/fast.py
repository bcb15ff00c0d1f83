"""TD3 as one compiled graph: losses, gradients, Adam and target networks of `delay` updates in a single call.

Compiling takes a minute or so, once for a batch size, and needs a C++ compiler; so it happens only when asked for, and
says so. The graph changes the very tensors of the TD3 it was made from: its `policy`, `state_dict` and plain `update`
stay valid at any time.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.optim import Optimizer

from agent.algorithms.td3 import TD3
from agent.replay import Batch, Sample
from agent.targets import td_target
from agent.update import saturation, weighted

Weights = dict[str, Tensor]
Scalars = dict[str, Tensor]
ABSENT = ("dropout", "preactivation_cost", "max_grad_norm")  # settings that the graph does not have
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # Adam (Kingma 2015), torch's defaults


class FastTD3:
    """Makes `delay` updates of a TD3 per call, with the plain path's numbers within float tolerance.

    bfloat16: products in bfloat16, sums and weights in float32; faster where the processor has it, and less exact.
    tell: is given a line when a compilation begins, and what it was for.
    Raises ValueError for settings that the graph does not have.
    """

    def __init__(self, td3: TD3, tell: Callable[[str], None], bfloat16: bool = False) -> None:
        config = td3.config
        found = ", ".join(name for name in ABSENT if getattr(config, name))
        if found:
            raise ValueError(f"the compiled TD3 has no {found}; switch it off or learn without compilation")
        self.td3, self.tell = td3, tell
        self._precision = (lambda: torch.autocast("cpu", torch.bfloat16)) if bfloat16 else nullcontext
        self._critics, self._actor = _weights(td3.critics), _weights(td3.actor)
        self._target_critics, self._target_actor = _weights(td3.target_critics), _weights(td3.target_actor)
        self._compiled = torch.compile(self._updates, dynamic=False, fullgraph=True)
        self._known: set[int] = set()  # batch sizes

    def update(self, samples: Sequence[Sample | Batch]) -> list[Scalars]:
        """Make one update with each of `delay` samples; returns what TD3.update does for each.

        Raises ValueError when there are more or fewer samples, or TD3 is in the midst of a delay.
        """
        delay, sigma, clip = self.td3.config.delay, self.td3.config.smoothing, self.td3.config.smoothing_clip
        if len(samples) != delay or self.td3.updates % delay:
            raise ValueError(f"{len(samples)} samples after {self.td3.updates} updates; expected {delay} at a time")
        pairs = [weighted(sample) for sample in samples]
        size = len(pairs[0][1])
        if size not in self._known:
            self.tell(f"compiling the TD3 update for batches of {size}, about a minute")
            self._known.add(size)
        noise = [torch.empty_like(batch.action) for batch, _ in pairs]
        if sigma:
            noise = [n.normal_(0.0, sigma, generator=self.td3.generator).clamp_(-clip, clip) for n in noise]
        else:
            noise = [n.zero_() for n in noise]
        self._critic_moments = _moments(self.td3.critic_optimizer, self.td3.critics)  # loading a state makes new ones
        self._actor_moments = _moments(self.td3.actor_optimizer, self.td3.actor)
        with torch.no_grad():
            found = self._compiled([(tuple(batch), weight) for batch, weight in pairs], noise)
        self.td3.updates += delay
        return found

    def _updates(self, pairs: list[tuple[tuple[Tensor, ...], Tensor]], noise: list[Tensor]) -> list[Scalars]:
        found = [self._critics_step(Batch(*columns), w, n) for (columns, w), n in zip(pairs, noise, strict=True)]
        actor = self._actor_step(pairs[-1][0][0])
        for target, source in ((self._target_critics, self._critics), (self._target_actor, self._actor)):
            for name, followed in target.items():
                followed.lerp_(source[name], self.td3.config.tau)
        return [scalars | actor for scalars in found]

    def _critics_step(self, batch: Batch, weight: Tensor, noise: Tensor) -> Scalars:
        """As TD3's: Σ_i mean w·(y − Q_i(s, a))², y = r + γ(1−d)·min_i Q'_i(s', clip(μ'(s') + ε))."""
        td3 = self.td3
        with self._precision():
            next_action = functional_call(td3.target_actor, self._target_actor, (batch.next_obs,)).float()
            next_action = td3.executed(batch.next_obs, (next_action + noise).clamp(-1, 1))
            next_values = functional_call(td3.target_critics, self._target_critics, (batch.next_obs, next_action))
        target = td_target(batch.reward, batch.discount, next_values.float().amin(dim=0))

        def loss_of(weights: Weights) -> tuple[Tensor, Tensor]:
            with self._precision():
                values = functional_call(td3.critics, weights, (batch.obs, batch.action)).float()
            return (weight * (target - values).square()).sum() / len(weight), values

        gradients, (loss, values) = grad_and_value(loss_of, has_aux=True)(self._critics)
        error = (target - values).abs().mean(dim=0)
        return {
            "critic_loss": loss,
            "critic_grad_norm": _adam(self._critics, gradients, self._critic_moments, td3.config.critic_lr),
            "q_mean": values.mean(),
            "q_max": values.max(),
            "td_error": error.mean(),
            "priority": error,
        }

    def _actor_step(self, obs: Tensor) -> Scalars:
        """As TD3's: climb mean Q_1(s, μ(s))."""
        td3 = self.td3
        first = {name: tensor[:1] for name, tensor in self._critics.items()}

        def loss_of(weights: Weights) -> tuple[Tensor, Tensor]:
            with self._precision():
                action = functional_call(td3.actor, weights, (obs,)).float()
                value = functional_call(td3.critics, first, (obs, td3.executed(obs, action))).float()
            return -value.mean(), action

        gradients, (loss, action) = grad_and_value(loss_of, has_aux=True)(self._actor)
        norm = _adam(self._actor, gradients, self._actor_moments, td3.config.actor_lr)
        return {"actor_loss": loss, "actor_grad_norm": norm, "saturation": saturation(action)}


def _weights(network: nn.Module) -> Weights:
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def _moments(optimizer: Optimizer, network: nn.Module) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """Adam's step, mean and mean square of each weight, in the optimiser's own memory, which is made if need be."""
    found = {}
    for name, parameter in network.named_parameters():
        state = optimizer.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        found[name] = state["step"], state["exp_avg"].detach(), state["exp_avg_sq"].detach()
    return found


def _adam(weights: Weights, gradients: Weights, moments: dict[str, tuple[Tensor, Tensor, Tensor]], lr: float) -> Tensor:
    """Adam's step (Kingma 2015, algorithm 1), in place; returns the gradients' norm."""
    for name, weight in weights.items():
        gradient, (step, mean, square) = gradients[name], moments[name]
        step.add_(1)
        mean.lerp_(gradient, 1 - BETA_1)
        square.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        scale = (square / (1 - BETA_2**step)).sqrt() + EPSILON
        weight.sub_(lr / (1 - BETA_1**step) * mean / scale)
    return torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()
