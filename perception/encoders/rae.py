"""A deterministic regularised autoencoder (Ghosh 2020), as SAC-AE uses (Yarats 2019, section 4): no noise, no prior."""

from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from perception.encoders.convolutions import Autoencoder, EyeConfig, Loss, squared_error


@dataclass(frozen=True)
class RAEConfig(EyeConfig):
    latent_weight: float = 0.02  # of ½|z|², which keeps the latents near nought
    decoder_weight: float = 1e-3  # of the sum of the decoder's squared weights; else small latents are blown up there


class RAE(Autoencoder):
    """Images to a latent and back, L2 on the latent and on the decoder's weights."""

    def __init__(self, config: RAEConfig) -> None:
        super().__init__(config, numbers=1)
        self.weights = config

    def loss(
        self, images: UInt8[Tensor, "b h w 3"], generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Loss:
        """Return Σ (x − x̂)² + λ_z ½|z|² + λ_θ |θ|² (Yarats 2019, eq. 6); `penalty` is ½|z|²."""
        pixels = self.seen(images)
        z = self.eye(pixels)
        reconstruction, size = squared_error(self.decode(z), pixels), z.square().sum(dim=1).mean() / 2
        decoder = sum((weight.square().sum() for weight in self.painter.parameters()), torch.zeros(()).to(z))
        total = reconstruction + self.weights.latent_weight * size + self.weights.decoder_weight * decoder
        return Loss(total, reconstruction, size, z)
