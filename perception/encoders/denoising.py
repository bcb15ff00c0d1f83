"""A denoising VAE (Im 2017): it is shown a spoiled frame and paints the clean one, so that it learns to see through.

What spoils a frame comes and goes by chance: a shadow across it, blur, a piece missing, more or less light.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d

from perception.encoders.convolutions import Autoencoder, Loss
from perception.encoders.vae import VAEConfig, negative_elbo


@dataclass(frozen=True)
class DenoisingConfig(VAEConfig):
    spoiled: float = 0.5  # chance of each of the following, image by image
    shadow: float = 0.6  # greatest part of the light that a shadow takes
    blur: float = 1.0  # greatest part of a 3x3 mean in a blurred image
    cutout: float = 0.4  # greatest side of the grey rectangle that hides a piece, as a part of the image's
    brightness: float = 0.3  # greatest change of brightness, as a part of it


class DenoisingVAE(Autoencoder):
    """A VAE that is shown one thing and asked for another; the policy shows it frames as they are."""

    def __init__(self, config: DenoisingConfig) -> None:
        super().__init__(config, numbers=2)
        self.weights = config

    def loss(
        self, images: UInt8[Tensor, "b h w 3"], generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Loss:
        """Return the VAE's loss of the clean images, seen spoiled; `penalty` is the KL in nats."""
        pixels = self.seen(images)
        return negative_elbo(self, self.weights, spoil(pixels, self.weights, generator), pixels, generator, progress)


def spoil(
    pixels: Float[Tensor, "b 3 h w"], config: DenoisingConfig, generator: torch.Generator | None = None
) -> Float[Tensor, "b 3 h w"]:
    """Return the images darker or brighter, blurred, in part in shadow, in part hidden, each by chance, in [0, 1]."""
    b, _, h, w = pixels.shape

    def drawn(low: float, high: float) -> Float[Tensor, "b 1 1 1"]:
        return torch.rand((b, 1, 1, 1), generator=generator, device=pixels.device) * (high - low) + low

    def chance() -> Float[Tensor, "b 1 1 1"]:
        return (drawn(0, 1) < config.spoiled).float()

    y = torch.linspace(-1, 1, h, device=pixels.device)[:, None]
    x = torch.linspace(-1, 1, w, device=pixels.device)
    angle = drawn(0, 2 * math.pi)
    in_shadow = (x * angle.cos() + y * angle.sin() > drawn(-0.5, 0.5)).float()
    hidden = ((x - drawn(-1, 1)).abs() < drawn(0, config.cutout)) & ((y - drawn(-1, 1)).abs() < drawn(0, config.cutout))
    soft = avg_pool2d(pixels, 3, 1, 1, count_include_pad=False)
    spoiled = torch.lerp(pixels, soft, chance() * drawn(0, config.blur))
    spoiled = spoiled * (1 - chance() * drawn(0, config.shadow) * in_shadow)
    spoiled = spoiled * (1 + chance() * drawn(-config.brightness, config.brightness))
    return torch.lerp(spoiled, torch.full_like(spoiled, 0.5), chance() * hidden).clamp(0, 1)
