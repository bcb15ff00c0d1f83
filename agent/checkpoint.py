"""The policy on disk: the actor's weights, and the critic's, with everything that is needed to use them again."""

from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from agent.algorithms import ALGORITHMS, CONFIGS
from agent.networks import Activation, Actor, Norm
from agent.pixels import encoder_for, seen_by
from perception.files import write_whole
from perception.sight import PIXELS

FORMAT = 2  # 1 said nothing of algorithm, norm and activation
FACTS, SETTINGS = "lapwing", "settings"  # keys in the metadata
VALUE = "value"  # the tensor that is not the actor's


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or not one of ours."""

    exit_code = 2


class Header(msgspec.Struct, frozen=True):
    """What the metadata of every version has."""

    format: int


class PolicyFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a trained actor was trained for; travels in the metadata of its weights and on into the ONNX file."""

    format: int = FORMAT
    run: str
    algo: str  # that trained it; a name in ALGORITHMS
    env: str
    scenario: str = "paper"
    roads: str = "fixed"
    road_seed: int
    length_m: float
    obs_size: int
    action_size: int
    hidden: tuple[int, ...]
    norm: Norm  # of the hidden layers
    activation: Activation  # of the hidden layers
    pixels: bool = False  # whether the policy sees by itself, instead of by an encoder
    history: int  # executed actions in the state vector
    period_s: float
    image_height: int
    image_width: int
    top_speed_mps: float
    max_steering_rad: float
    max_steering_rate_radps: float

    @property
    def steering_reach(self) -> float:
        """How far steering moves in a control period, in action units."""
        return self.max_steering_rate_radps * self.period_s / self.max_steering_rad

    @property
    def image(self) -> tuple[int, int, int] | None:
        """(height, width, colours) of the camera's image at the head of an observation; None if a latent is there."""
        return (self.image_height, self.image_width, 3) if self.pixels else None

    def sight(self, run: Path) -> Path:
        """What `perception.sight.load_sight` needs for a policy in the folder of a run."""
        return PIXELS if self.pixels else run / "vae.safetensors"


def make_actor(facts: PolicyFacts) -> nn.Module:
    """An actor as the facts describe it, to drive with: its weights are yet to come."""
    encoder, size = encoder_for(facts.obs_size, facts.image)
    actor = Actor(size, facts.action_size, facts.hidden, facts.norm, facts.activation)
    return seen_by(encoder, actor).eval().requires_grad_(False)


class Worth(NamedTuple):
    """What tells the value of an action: an algorithm's `value`."""

    settings: Any  # of the algorithm
    weights: Tensor  # (N,) float32, see `flat_weights`


def save_actor(path: Path, actor: nn.Module, facts: PolicyFacts, worth: Worth | None = None) -> None:
    """Write the actor, and what its actions are worth; a reader sees the old file or the new one, never a part."""
    tensors = {name: tensor.contiguous() for name, tensor in actor.state_dict().items()}
    metadata = {FACTS: msgspec.json.encode(facts).decode()}
    if worth is not None:
        tensors[VALUE] = worth.weights
        metadata[SETTINGS] = msgspec.json.encode(worth.settings).decode()
    write_whole(path, save(tensors, metadata))


def load_actor(path: Path) -> tuple[nn.Module, PolicyFacts]:
    """Read an actor and its facts. Raises CheckpointError naming the file and what is wrong with it."""
    actor, facts, _ = load_policy(path)
    return actor, facts


def load_policy(path: Path) -> tuple[nn.Module, PolicyFacts, nn.Module | None]:
    """Read an actor, its facts and the `value` of the algorithm that trained it, None where an older file lacks it.

    Raises CheckpointError naming the file and what is wrong with it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            facts = _facts(path, metadata[FACTS])
            actor = make_actor(facts)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            weights = tensors.pop(VALUE, None)
            actor.load_state_dict(tensors)
            value = None if weights is None else _value(facts, metadata[SETTINGS], weights)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint; expected what `lapwing train` writes") from error
    except (SafetensorError, OSError, KeyError, msgspec.DecodeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: damaged or not an actor of Lapwing ({error})") from error
    return actor, facts, value


def _value(facts: PolicyFacts, settings: str, weights: Tensor) -> nn.Module:
    """What those weights are of: the `value` of the algorithm with those settings."""
    trained_by = msgspec.json.decode(settings, type=resolve_name(CONFIGS[facts.algo]))
    algorithm = resolve_name(ALGORITHMS[facts.algo])(trained_by, facts.obs_size, facts.action_size, image=facts.image)
    value = algorithm.value.eval().requires_grad_(False)
    load_flat_weights(value, weights)
    return value


def _facts(path: Path, metadata: str) -> PolicyFacts:
    """Decode the facts. Raises CheckpointError when another version of Lapwing wrote them, DecodeError for junk."""
    found = msgspec.json.decode(metadata, type=Header).format
    if found != FORMAT:
        raise CheckpointError(f"{path}: checkpoint of format {found}; expected {FORMAT}, which `lapwing train` writes")
    return msgspec.json.decode(metadata, type=PolicyFacts)


def flat_weights(actor: nn.Module) -> Tensor:
    """All weights of the actor and what it normalises by as one vector, (N,) float32."""
    return torch.cat([tensor.flatten() for tensor in _floats(actor)])


def load_flat_weights(actor: nn.Module, weights: Tensor) -> None:
    """Put a vector made by `flat_weights` back into an actor of the same shape."""
    tensors = _floats(actor)
    for tensor, values in zip(tensors, weights.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(values.view_as(tensor))


def _floats(actor: nn.Module) -> list[Tensor]:
    """Weights and running statistics (of batch normalisation), which share memory with the actor."""
    return [tensor for tensor in actor.state_dict().values() if tensor.is_floating_point()]
