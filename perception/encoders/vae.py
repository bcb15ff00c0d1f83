"""A variational autoencoder of camera images (Kingma & Welling 2013), small enough to train in seconds."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save
from torch import Tensor, nn

from perception.encoders import EncoderError
from perception.files import write_whole


@dataclass(frozen=True)
class VAEConfig:
    latent: int = 32  # numbers that an image becomes
    height_px: int = 64  # of an image; a multiple of 2 to the number of layers
    width_px: int = 64  # of an image; a multiple of 2 to the number of layers
    channels: tuple[int, ...] = (16, 32, 64, 64)  # of each layer; a layer halves height and width
    beta: float = 0.1  # weight of the KL term = 2 x the assumed pixel variance, pixels in [0, 1]
    kl_floor_nats: float = 4.0  # KL that costs nothing to have, so that the latent does not collapse early

    @property
    def grid(self) -> tuple[int, int, int]:
        """Channels, height and width behind the last layer of the encoder."""
        shrink = 2 ** len(self.channels)
        return self.channels[-1], self.height_px // shrink, self.width_px // shrink


class Loss(NamedTuple):
    """Means over a batch; total = reconstruction + beta·max(kl, floor)."""

    total: Float[Tensor, ""]
    reconstruction: Float[Tensor, ""]
    kl_nats: Float[Tensor, ""]


class VAE(nn.Module):
    """Images to the mean and log-variance of a Gaussian latent, and back.

    Images are uint8 (b, h, w, 3) as the camera gives them; inside they are float32 in [0, 1], channels first.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        _check_size(config)
        down = [step for i, o in pairwise((3, *config.channels)) for step in (nn.Conv2d(i, o, 4, 2, 1), nn.ReLU())]
        size = math.prod(config.grid)
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(size, 2 * config.latent))
        self.to_grid = nn.Sequential(nn.Linear(config.latent, size), nn.Unflatten(1, config.grid))
        up = [step for i, o in pairwise((*config.channels[::-1], 3)) for step in (nn.ReLU(), *_double(i, o))]
        self.decoder = nn.Sequential(*up)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch does not declare it)

    def encode(self, images: UInt8[Tensor, "b h w 3"]) -> tuple[Float[Tensor, "b z"], Float[Tensor, "b z"]]:
        """Return mean and log-variance of the latent; the mean is what a policy sees."""
        mu, logvar = self.encoder(as_pixels(images) - 0.5).float().chunk(2, dim=1)
        return mu, logvar

    def decode(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b 3 h w"]:
        """Return pixels, in [0, 1] but for the error of reconstruction."""
        return self.decoder(self.to_grid(z)).float() + 0.5

    def forward(
        self, images: UInt8[Tensor, "b h w 3"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b z"], Float[Tensor, "b z"]]:
        """Return (reconstruction, mu, logvar) with z = mu + σ·ε, ε ~ N(0, 1) (Kingma & Welling 2013, eq. 4)."""
        mu, logvar = self.encode(images)
        noise = torch.randn(mu.shape, generator=generator, device=mu.device)
        return self.decode(mu + (logvar / 2).exp() * noise), mu, logvar

    def loss(self, images: UInt8[Tensor, "b h w 3"], generator: torch.Generator | None = None) -> Loss:
        """Return what training lowers: Σ (x − x̂)² + beta·max(KL, floor), the mean over the batch.

        The sum is over an image's pixels and colours (Kendall 2018: KL and L2); KL as in `kl_nats`.
        """
        pixels, mu, logvar = self(images, generator)
        reconstruction = (pixels - as_pixels(images)).square().sum(dim=(1, 2, 3)).mean()
        kl = kl_nats(mu, logvar)
        total = reconstruction + self.config.beta * kl.clamp(min=self.config.kl_floor_nats).mean()
        return Loss(total, reconstruction, kl.mean())

    def save(self, path: Path) -> None:
        """Write weights and config as one .safetensors file."""
        metadata = {"encoder": "vae", "config": msgspec.json.encode(self.config).decode()}
        weights = {name: tensor.cpu().contiguous() for name, tensor in self.state_dict().items()}
        write_whole(path, save(weights, metadata))

    @classmethod
    def restore(cls, path: Path, config: str, weights: dict[str, Tensor]) -> Self:
        """Build from what `save` wrote, in evaluation mode; EncoderError, naming the path, when they do not match."""
        try:
            vae = cls(msgspec.json.decode(config, type=VAEConfig))
            vae.load_state_dict(weights)
        except (msgspec.DecodeError, EncoderError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise EncoderError(f"{path}: weights and config do not make a VAE: {reason}") from None
        return vae.eval()


def as_pixels(images: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    """Camera images as float32 in [0, 1], channels first."""
    return images.permute(0, 3, 1, 2).float() / 255


def kl_nats(mu: Float[Tensor, "b z"], logvar: Float[Tensor, "b z"]) -> Float[Tensor, " b"]:
    """Return KL(N(mu, σ²) ‖ N(0, 1)) = ½ Σ (mu² + σ² − 1 − log σ²) per image (Kingma & Welling 2013, appendix B)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)


def _check_size(config: VAEConfig) -> None:
    multiple = 2 ** len(config.channels)
    if config.width_px % multiple or config.height_px % multiple:
        size = f"{config.width_px}x{config.height_px}"
        raise EncoderError(f"VAE: images are {size} pixels, expected multiples of {multiple}: a layer halves both")


def _double(channels_in: int, channels_out: int) -> tuple[nn.Module, nn.Module]:
    """Twice the height and width; on a CPU faster than a transposed convolution."""
    return nn.Conv2d(channels_in, 4 * channels_out, 3, padding=1), nn.PixelShuffle(2)
