"""The encoders that compress camera images to latents, one file each."""

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perception.encoders.vae import VAE

ENCODERS = {"vae": "perception.encoders.vae:VAE"}


class EncoderError(Exception):
    """Weights that cannot be read; the message names the file."""

    exit_code = 2


def load_encoder(path: Path) -> "VAE":
    """Read an encoder that its `save` wrote, in evaluation mode. Raises EncoderError."""
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
    return resolve_name(ENCODERS[name]).restore(path, metadata["config"], weights)
