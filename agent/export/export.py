"""`lapwing export`: encoder, actor and critic as one ONNX graph from camera image and state vector to action."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx
import onnxruntime
import torch
from rich.console import Console
from torch import Tensor, nn

from agent.checkpoint import PolicyFacts, load_policy, vae_of
from agent.export.reconstruction import eyes
from agent.latent import RateLimit
from agent.settings import Count, Whole, checked
from deploy.policy import METADATA_KEY
from deploy.policy_spec import PolicySpec
from perception.encoders import Familiar, load_familiar
from perception.encoders.convolutions import Autoencoder
from perception.files import write_whole
from perception.graph import to_onnx as graph_of
from perception.measures import squared_errors
from perception.sight import Sight, load_sight

PARITY = 1e-4  # largest difference from torch, in action units; of the novelty, as a part of it
Variant = Literal["int8", "float16"]
EXACT = 1e-9  # least error of a reconstruction; none is more exact


@dataclass(frozen=True)
class ExportConfig:
    """Write the policy of a run as one ONNX file that the car can use."""

    run: Path = Path("runs/demo/train")  # folder that `lapwing train` wrote
    out: Path = Path("runs/demo/policy.onnx")  # file to write
    frames: Count = 64  # random inputs on which ONNX must agree with torch within 1e-4
    eyes: bool = False  # write eyes.onnx beside it, too: what the encoder keeps of an image, for the dashboard
    variants: tuple[Variant, ...] = ()  # less exact ones to write beside it: int8, float16; see docs/policy.md
    parity_frames: Count = 1000  # of held-out roads, on which a variant's answers are compared
    held_out: Count = 20  # roads that no training saw, which a variant must drive as well
    seed: Whole = 0  # of the noise with which frames are gathered


class ExportError(RuntimeError):
    """The exported graph does not compute what torch computes; nothing was written."""

    exit_code = 2


class Worth(nn.Module):
    """Q(s, a) of what the motors would make of an action, which is all that the critic was ever asked about."""

    def __init__(self, value: nn.Module, reach: float) -> None:
        super().__init__()
        self.value, self.limit = value, RateLimit(reach)

    def forward(self, seen: Tensor, action: Tensor) -> Tensor:
        """seen: (batch, N) features and state, action: (batch, 2); returns (batch,)."""
        return self.value(seen, self.limit.limited(seen, action))


class CameraPolicy(nn.Module):
    """action = μ(mean of q(z | image), state); what it is worth; and how new the image is, each where it is known."""

    def __init__(
        self, encoder: Sight, actor: nn.Module, familiar: Familiar | None = None, worth: Worth | None = None
    ) -> None:
        super().__init__()
        self.encoder, self.familiar, self.worth = encoder, familiar, worth
        self.eye, self.actor = actor if isinstance(actor, nn.Sequential) else (nn.Identity(), actor)

    @property
    def outputs(self) -> list[str]:
        return ["action", *(["novelty"] if self.familiar else []), *(["value"] if self.worth else [])]

    def forward(self, image: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """image (batch, H, W, 3) uint8, state (batch, S) float32 → action (batch, 2) in [-1, 1], novelty and value.

        All are float32; novelty and value are (batch,). The novelty is the error of the image's reconstruction as a
        multiple of what one in a hundred familiar images exceeds. The value is the discounted sum of metres to come.
        """
        z = self.encoder.encode_mean(image)
        seen = self.eye(torch.cat([z, state], dim=-1))
        action = self.actor(seen)
        told = [action]
        if self.familiar is not None:
            assert isinstance(self.encoder, Autoencoder)  # nothing else is familiar with anything
            told.append(squared_errors(self.encoder, z, image) / max(self.familiar.q99, EXACT))
        if self.worth is not None:
            told.append(self.worth(seen, action))
        return tuple(told)


def load(run: Path) -> tuple[CameraPolicy, PolicyFacts]:
    """The policy of a run. Raises CheckpointError and EncoderError."""
    actor, facts, value = load_policy(run / "actor.safetensors")
    if facts.vae:  # both parts are in that file, of one version
        encoder, actor = vae_of(actor), actor.get_submodule("1")
    else:
        encoder = load_sight(facts.sight(run))
    blind = facts.pixels and not facts.vae  # to what is new
    familiar = None if blind else load_familiar(run / "vae.safetensors")
    worth = None if value is None else Worth(value, facts.steering_reach)
    return CameraPolicy(encoder, actor, familiar, worth).eval(), facts


def export(config: ExportConfig, console: Console) -> float:
    """Write the ONNX file; return the largest difference from torch. Raises ExportError above 1e-4.

    With `eyes` also eyes.onnx; raises ExportError where no encoder has learned to rebuild what it sees.
    """
    checked(config)
    policy, facts = load(config.run)
    if config.eyes and not isinstance(policy.encoder, Autoencoder):
        raise ExportError(f"the policy of {config.run} sees pixels and rebuilds nothing; expected no --eyes")
    model = to_onnx(policy, policy_spec(facts))
    difference = parity(model.SerializeToString(), policy, facts, config.frames)
    if not difference <= PARITY:
        raise ExportError(f"{config.out}: ONNX differs from torch by {difference:.1e}, expected at most {PARITY:.0e}")
    write_whole(config.out, model.SerializeToString())
    if isinstance(policy.encoder, Autoencoder) and config.eyes:
        beside = config.out.with_name("eyes.onnx")
        write_whole(beside, eyes(policy.encoder, facts, policy_spec(facts)).SerializeToString())
    console.print(f"wrote {config.out}, within {difference:.1e} of torch on {config.frames} random inputs")
    return difference


def policy_spec(facts: PolicyFacts) -> PolicySpec:
    """What the car must know of the policy."""
    same = ("run", "image_height", "image_width", "period_s", "top_speed_mps", "max_steering_rad")
    return PolicySpec(
        lapwing=version("lapwing"),
        max_steering_rate_radps=facts.max_steering_rate_radps,
        history=facts.history,
        **{name: getattr(facts, name) for name in same},
    )


def example(spec: PolicySpec | PolicyFacts, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random inputs of the policy's shape: image (batch, H, W, 3) uint8, state (batch, S) float32."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, spec.image_height, spec.image_width, 3)
    image = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return image, torch.rand(batch, 2 + 2 * spec.history, generator=generator) * 2 - 1


def to_onnx(policy: CameraPolicy, spec: PolicySpec) -> onnx.ModelProto:
    """Trace the policy for any batch size and attach its spec."""
    image, state = example(spec, batch=2)
    notes = {METADATA_KEY: msgspec.json.encode(spec).decode()}
    return graph_of(policy, {"image": image, "state": state}, policy.outputs, notes)


def parity(model: bytes, policy: CameraPolicy, facts: PolicyFacts, frames: int) -> float:
    """The largest difference between onnxruntime's and torch's outputs on random inputs, absolute or relative."""
    image, state = example(facts, frames)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(policy.outputs, {"image": image.numpy(), "state": state.numpy()})
    with torch.inference_mode():
        expected = [output.numpy() for output in policy(image, state)]
    differences = [np.abs(a - b) / np.maximum(1, np.abs(b)) for a, b in zip(found, expected, strict=True)]
    return float(np.max([difference.max() for difference in differences]))
