"""The encoders that compress camera images to latents, one file each.

Each is a `perception.encoders.convolutions.Autoencoder`: `encode_mean` is what a policy sees, `loss` what training
lowers. Its config is the dataclass that its constructor takes.
"""

from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from perception.files import write_whole

if TYPE_CHECKING:
    from perception.encoders.convolutions import Autoencoder

ENCODERS = {
    "vae": "perception.encoders.vae:VAE",
    "denoising": "perception.encoders.denoising:DenoisingVAE",
    "rae": "perception.encoders.rae:RAE",
}


class EncoderError(Exception):
    """Weights that cannot be read, or a config that makes no encoder; the message names the file or the field."""

    exit_code = 2


@dataclass(frozen=True)
class Familiar:
    """How well an encoder rebuilds held-out frames like those it learned from: quantiles of the mean squared error.

    A frame's novelty is its error as a multiple of `q99`: one familiar frame in a hundred has more than 1.
    """

    q50: float
    q90: float
    q99: float


def load_encoder(path: Path) -> "Autoencoder":
    """Read an encoder that `save_encoder` wrote, in evaluation mode. Raises EncoderError."""
    metadata, weights = _read(path)
    encoder = resolve_name(ENCODERS[metadata["encoder"]])
    try:
        made = encoder(msgspec.json.decode(metadata["config"], type=get_type_hints(encoder.__init__)["config"]))
        made.load_state_dict(weights)
    except (msgspec.DecodeError, EncoderError, RuntimeError) as error:
        raise EncoderError(f"{path}: weights and config do not make an encoder: {_one_line(error)}") from None
    return made.eval()


def load_familiar(path: Path) -> Familiar | None:
    """Read what a pretrained encoder is used to; None where its file does not tell. Raises EncoderError."""
    metadata, _ = _read(path)
    if "familiar" not in metadata:
        return None
    try:
        return msgspec.json.decode(metadata["familiar"], type=Familiar)
    except msgspec.DecodeError as error:
        raise EncoderError(f"{path}: quantiles of the error cannot be read: {_one_line(error)}") from None


def save_encoder(path: Path, encoder: "Autoencoder", familiar: Familiar | None = None) -> None:
    """Write weights, config and what the encoder is used to as one .safetensors file."""
    from safetensors.torch import save

    kind = f"{type(encoder).__module__}:{type(encoder).__name__}"
    (name,) = (name for name, path in ENCODERS.items() if path == kind)
    metadata = {"encoder": name, "config": msgspec.json.encode(encoder.config).decode()}
    if familiar:
        metadata["familiar"] = msgspec.json.encode(familiar).decode()
    weights = {name: tensor.cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    write_whole(path, save(weights, metadata))


def _read(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Metadata and weights of an encoder's file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except FileNotFoundError:
        raise EncoderError(f"{path}: is missing; `lapwing pretrain` writes it") from None
    except (SafetensorError, OSError) as error:
        raise EncoderError(f"{path}: is damaged or no .safetensors file: {error}") from None
    name = metadata.get("encoder", "")
    if name not in ENCODERS or "config" not in metadata:
        raise EncoderError(f"{path}: holds encoder {name!r}, expected one of {', '.join(ENCODERS)}")
    return metadata, weights


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
