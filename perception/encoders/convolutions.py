"""What all encoders share: the part of an image that they look at, the convolutions down to numbers and back up."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from perception.encoders import EncoderError


@dataclass(frozen=True)
class EyeConfig:
    latent: int = 32  # numbers that an image becomes; 8 to 128 make sense
    height_px: int = 64  # of an image
    width_px: int = 64  # of an image
    crop_top: float = 0.25  # part of the height cut off at the top; our cameras' horizons are at 0.28 to 0.32
    channels: tuple[int, ...] = (16, 32, 64, 64)  # of each layer; a layer halves height and width
    residual: bool = False  # two more convolutions around which each layer's output is carried (He 2015)

    @property
    def crop_px(self) -> int:
        """Rows that are cut off at the top."""
        return round(self.crop_top * self.height_px)

    @property
    def padding_px(self) -> tuple[int, int]:
        """Rows and columns by which what is left falls short of a multiple of 2 to the number of layers."""
        multiple = 2 ** len(self.channels)
        return -(self.height_px - self.crop_px) % multiple, -self.width_px % multiple

    @property
    def grid(self) -> tuple[int, int, int]:
        """Channels, height and width behind the last layer of the eye."""
        shrink, (rows, columns) = 2 ** len(self.channels), self.padding_px
        height_px, width_px = self.height_px - self.crop_px + rows, self.width_px + columns
        return self.channels[-1], height_px // shrink, width_px // shrink


class Loss(NamedTuple):
    """What a training step lowers, means over the batch."""

    total: Float[Tensor, ""]  # reconstruction and weighted penalty
    reconstruction: Float[Tensor, ""]  # squared error, summed over pixels and colours
    penalty: Float[Tensor, ""]  # before its weight; what it is says the encoder
    mean: Float[Tensor, "b z"]  # of the latents, which a policy would see


class Autoencoder(nn.Module, ABC):
    """Images to a latent and back; an encoder's own file adds the loss.

    Images are uint8 (b, h, w, 3) as the camera gives them; inside they are float32 in [0, 1], channels first, without
    the rows that are cropped. `numbers`: how many per latent the eye has for the loss; the first is the mean.
    Raises EncoderError for a config that makes no encoder.
    """

    def __init__(self, config: EyeConfig, numbers: int) -> None:
        super().__init__()
        _check(config)
        self.config, self.numbers = config, numbers
        self.eye = Eye(config, numbers * config.latent)
        self.painter = Painter(config)
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch does not declare it)

    def seen(self, images: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 rows w"]:
        """The part of the images that is looked at, which `decode` gives back."""
        return as_pixels(images[:, self.config.crop_px :])

    def encode(self, images: UInt8[Tensor, "b h w 3"]) -> tuple[Float[Tensor, "b z"], ...]:
        """Return all that the eye has of the images: the latent's mean, and a VAE's its log-variance, too."""
        return self.eye(self.seen(images)).chunk(self.numbers, dim=1)

    def encode_mean(self, images: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b z"]:
        """Return what a policy sees of the images; draws nothing."""
        return self.eye(self.seen(images))[:, : self.config.latent]

    def decode(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b 3 rows w"]:
        """Return pixels, in [0, 1] but for the error of reconstruction."""
        return self.painter(z)

    def reconstruct(self, images: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 rows w"]:
        """Return what the latent's mean holds of `seen(images)`."""
        return self.decode(self.encode_mean(images))

    @abstractmethod
    def loss(self, images: UInt8[Tensor, "b h w 3"], generator: torch.Generator | None, progress: float) -> Loss:
        """Return what training lowers; progress: the part of training that is done, 0 to 1."""


class Eye(nn.Module):
    """Pixels (b, 3, rows, w) to (b, outputs) float32."""

    def __init__(self, config: EyeConfig, outputs: int) -> None:
        super().__init__()
        rows, columns = config.padding_px
        layers: list[nn.Module] = [nn.ReplicationPad2d((0, columns, rows, 0))] if rows or columns else []
        for i, o in pairwise((3, *config.channels)):
            layers += [nn.Conv2d(i, o, 4, 2, 1), nn.ReLU(), *([Residual(o)] if config.residual else [])]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.numbers = nn.Linear(math.prod(config.grid), outputs)

    def forward(self, pixels: Float[Tensor, "b 3 rows w"]) -> Float[Tensor, "b outputs"]:
        return self.numbers(self.layers(pixels - 0.5)).float()


class Painter(nn.Module):
    """Latents (b, z) to pixels (b, 3, rows, w) float32; mirrors the eye."""

    def __init__(self, config: EyeConfig) -> None:
        super().__init__()
        self.padding_px, self.width_px = config.padding_px, config.width_px
        self.grid = nn.Sequential(nn.Linear(config.latent, math.prod(config.grid)), nn.Unflatten(1, config.grid))
        layers: list[nn.Module] = []
        for i, o in pairwise((*config.channels[::-1], 3)):
            layers += [*([Residual(i)] if config.residual else []), nn.ReLU(), *_double(i, o)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b 3 rows w"]:
        painted = self.layers(self.grid(z)).float() + 0.5
        return painted[:, :, self.padding_px[0] :, : self.width_px]


class Residual(nn.Module):
    """x + f(x), f two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.change = nn.Sequential(first, nn.ReLU(), second)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.change(x)


def as_pixels(images: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    """Camera images as float32 in [0, 1], channels first; in memory they stay channels last, which oneDNN likes."""
    return images.permute(0, 3, 1, 2).float() / 255


def squared_error(pixels: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """Σ (x − x̂)² over an image's pixels and colours, the mean over the batch (Kendall 2018: L2)."""
    return (pixels - target).square().sum(dim=(1, 2, 3)).mean()


def _check(config: EyeConfig) -> None:
    if config.latent < 1 or not config.channels or min(config.channels) < 1:
        raise EncoderError(f"encoder: latent {config.latent}, channels {config.channels}; expected numbers from 1")
    if not 0 <= config.crop_top < 1:
        raise EncoderError(f"encoder: crop_top is {config.crop_top}, expected a part of the height, 0 to less than 1")
    least, rows = 2 ** len(config.channels), config.height_px - config.crop_px
    if min(rows, config.width_px) < least // 2 + 1:
        size = f"{config.width_px}x{rows}"
        raise EncoderError(f"encoder: sees {size} pixels, expected about {least} each way: a layer halves both")


def _double(channels_in: int, channels_out: int) -> tuple[nn.Module, nn.Module]:
    """Twice the height and width; on a CPU faster than a transposed convolution."""
    return nn.Conv2d(channels_in, 4 * channels_out, 3, padding=1), nn.PixelShuffle(2)
