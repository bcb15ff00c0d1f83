"""What turns a camera image into a short vector; one file each.

An encoder is a torch module whose `encode(images uint8 (b, h, w, 3))` returns the mean and log-variance of its latent,
both (b, latent) float32.
"""

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perception.encoders.vae import VAE

ENCODERS = {"vae": "perception.encoders.vae:VAE"}


class EncoderError(Exception):
    """A file that holds no encoder of ours; the message names it."""

    exit_code = 2


def load_encoder(path: Path) -> "VAE":
    """Read an encoder from its .safetensors file, on the CPU and in evaluation mode.

    Raises EncoderError, naming the file, when it is missing, truncated, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise EncoderError(f"{path}: there is no encoder here; write one with `lapwing pretrain`") from None
    except (SafetensorError, OSError) as error:
        raise EncoderError(f"{path}: is not a whole .safetensors file: {error}") from None
    if metadata.get("encoder") not in ENCODERS:
        raise EncoderError(f"{path}: encoder is {metadata.get('encoder')!r}, expected one of {sorted(ENCODERS)}")
    return resolve_name(ENCODERS[metadata["encoder"]]).restore(path, metadata, weights)
