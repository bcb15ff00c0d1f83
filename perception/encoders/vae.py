"""A variational autoencoder of camera images (Kingma & Welling 2013), small enough to train in seconds."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from perception.encoders.convolutions import Autoencoder, EyeConfig, Loss, squared_error


@dataclass(frozen=True)
class VAEConfig(EyeConfig):
    beta: float = 0.1  # weight of the KL term = 2 x the assumed pixel variance, pixels in [0, 1]
    kl_warmup: float = 0.1  # part of training in which beta rises from 0 (Bowman 2016, section 3.1)
    kl_floor_nats: float = 4.0  # KL that costs nothing to have, so that the latent does not collapse early


class VAE(Autoencoder):
    """Images to the mean and log-variance of a Gaussian latent, and back."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config, numbers=2)
        self.weights = config

    def loss(
        self, images: UInt8[Tensor, "b h w 3"], generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Loss:
        """Return Σ (x − x̂)² + beta·max(KL, floor), the mean over the batch; `penalty` is the KL in nats."""
        pixels = self.seen(images)
        return negative_elbo(self, self.weights, pixels, pixels, generator, progress)


def negative_elbo(
    model: Autoencoder,
    config: VAEConfig,
    shown: Float[Tensor, "b 3 rows w"],
    target: Float[Tensor, "b 3 rows w"],
    generator: torch.Generator | None,
    progress: float,
) -> Loss:
    """The negative evidence lower bound of `target`, seen as `shown`, with beta warmed up (Higgins 2017, eq. 4)."""
    mu, logvar = model.eye(shown).chunk(2, dim=1)
    reconstruction = squared_error(model.decode(sample(mu, logvar, generator)), target)
    kl = kl_nats(mu, logvar).sum(dim=1)
    beta = config.beta * min(1.0, progress / config.kl_warmup) if config.kl_warmup else config.beta
    total = reconstruction + beta * kl.clamp(min=config.kl_floor_nats).mean()
    return Loss(total, reconstruction, kl.mean(), mu)


def sample(
    mu: Float[Tensor, "b z"], logvar: Float[Tensor, "b z"], generator: torch.Generator | None = None
) -> Float[Tensor, "b z"]:
    """Return z = mu + σ·ε, ε ~ N(0, 1) (Kingma & Welling 2013, eq. 4)."""
    return mu + (logvar / 2).exp() * torch.randn(mu.shape, generator=generator, device=mu.device)


def kl_nats(mu: Float[Tensor, "b z"], logvar: Float[Tensor, "b z"]) -> Float[Tensor, "b z"]:
    """Return KL(N(mu, σ²) ‖ N(0, 1)) = ½ (mu² + σ² − 1 − log σ²) of each latent (Kingma & Welling 2013, app. B)."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar)
