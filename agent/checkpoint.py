"""The policy on disk: the actor's weights with everything that is needed to use them again."""

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from agent.networks import Actor
from perception.files import write_whole

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or not one of ours."""

    exit_code = 2


class PolicyFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a trained actor was trained for; travels in the metadata of its weights and on into the ONNX file."""

    format: int = FORMAT
    run: str
    env: str
    road_seed: int
    length_m: float
    obs_size: int
    action_size: int
    hidden: tuple[int, ...]
    history: int  # executed actions in the state vector
    period_s: float
    image_height: int
    image_width: int
    top_speed_mps: float
    max_steering_rad: float
    max_steering_rate_radps: float


def save_actor(path: Path, actor: Actor, facts: PolicyFacts) -> None:
    """Write the actor; a reader sees the old file or the new one, never a part."""
    tensors = {name: tensor.contiguous() for name, tensor in actor.state_dict().items()}
    write_whole(path, save(tensors, {"lapwing": msgspec.json.encode(facts).decode()}))


def load_actor(path: Path) -> tuple[Actor, PolicyFacts]:
    """Read an actor and its facts. Raises CheckpointError naming the file and what is wrong with it."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = msgspec.json.decode((file.metadata() or {})["lapwing"], type=PolicyFacts)
            actor = Actor(facts.obs_size, facts.action_size, facts.hidden)
            actor.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such checkpoint; expected what `lapwing train` writes") from error
    except (SafetensorError, OSError, KeyError, msgspec.DecodeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: damaged or not an actor of Lapwing ({error})") from error
    return actor.eval().requires_grad_(False), facts


def flat_weights(actor: Actor) -> torch.Tensor:
    """All weights of the actor as one vector, (N,) float32."""
    return torch.nn.utils.parameters_to_vector(actor.parameters()).detach()


def load_flat_weights(actor: Actor, weights: torch.Tensor) -> None:
    """Put a vector made by `flat_weights` back into an actor of the same shape."""
    torch.nn.utils.vector_to_parameters(weights, actor.parameters())
