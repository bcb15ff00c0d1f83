"""Learning from the camera image itself: what encodes it in an algorithm, and in the policy that comes of it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from perception.encoders.vae import VAE, VAEConfig

FEATURES = 50  # numbers that an image becomes; SAC-AE (Yarats 2019)
SHIFT = 4  # pixels at most; DrQ (Kostrikov 2020)


@dataclass(frozen=True)
class ToLatent:
    """The image is to become the latent of a VAE with these settings, which `agent.training.online.Online` trains.

    joint: whether the critic's loss trains it, too.
    """

    vae: VAEConfig
    joint: bool = False


Image = tuple[int, int, int] | ToLatent | None  # at the head of observations: (H, W, C) for a ConvEncoder; or none


class ConvEncoder(nn.Module):
    """Replaces the image at the head of an observation by features.

    Four convolutions 3×3 with stride 2 and 16 channels as in Kendall 2018, then a linear layer, LayerNorm and tanh to
    `features` numbers as in SAC-AE (Yarats 2019). Only the critic's loss trains it; the actor gets its features
    detached (Yarats 2019), and next observations are encoded by the same weights (DrQ-v2, Yarats 2021).
    """

    def __init__(self, image: tuple[int, int, int], features: int = FEATURES, channels: int = 16) -> None:
        super().__init__()
        self.image = image
        height, width, colours = image
        layers: list[nn.Module] = []
        for inputs in (colours, channels, channels, channels):
            layers += [nn.Conv2d(inputs, channels, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            flat = self.convolutions(torch.zeros(1, colours, height, width)).shape[1]
        self.head = nn.Sequential(nn.Linear(flat, features), nn.LayerNorm(features), nn.Tanh())

    def forward(
        self, obs: Float[Tensor, "batch obs"], shift: Int[Tensor, "batch 2"] | None = None
    ) -> Float[Tensor, "batch features"]:
        """obs: the image's bytes 0 … 255 in the order (H, W, C), then the rest, which follows the features as it is."""
        height, width, colours = self.image
        size = height * width * colours
        image = obs[:, :size].view(-1, height, width, colours)
        if shift is not None:
            image = shifted(image, shift)
        features = self.head(self.convolutions(image.permute(0, 3, 1, 2) / 255 - 0.5))
        return torch.cat([features.to(obs.dtype), obs[:, size:]], dim=1)

    def draw(self, size: int, generator: torch.Generator) -> Int[Tensor, "size 2"]:
        """Shifts for so many images, uniform, down and right, in pixels."""
        return torch.randint(-SHIFT, SHIFT + 1, (size, 2), generator=generator)

    @property
    def of_critic(self) -> nn.Module:
        """What the critic's loss trains."""
        return self


class LatentEncoder(nn.Module):
    """Replaces the image at the head of an observation by the mean of a VAE's latent, by the weights of the moment.

    The VAE's own loss trains it, and if it is joint the critic's, too, but never the actor's (SAC-AE, Yarats 2019,
    section 5).
    """

    def __init__(self, spec: ToLatent) -> None:
        super().__init__()
        self.vae, self.joint = VAE(spec.vae), spec.joint
        self.image = spec.vae.height_px, spec.vae.width_px, 3

    def forward(self, obs: Float[Tensor, "batch obs"], shift: None = None) -> Float[Tensor, "batch features"]:
        """obs: as ConvEncoder's; the gradient ends here unless it is joint."""
        height, width, colours = self.image
        z = self.vae.encode_mean(self.images(obs))
        return torch.cat([z if self.joint else z.detach(), obs[:, height * width * colours :]], dim=1)

    def images(self, obs: Float[Tensor, "batch obs"]) -> UInt8[Tensor, "batch h w 3"]:
        """The images of observations."""
        height, width, colours = self.image
        return obs[:, : height * width * colours].view(-1, height, width, colours).to(torch.uint8)

    def draw(self, size: int, generator: torch.Generator) -> None:
        """Nothing to shift: the VAE's own training shows it warped images."""

    @property
    def of_critic(self) -> nn.Module:
        """What the critic's loss trains: the way down to the latent, or nothing."""
        return self.vae.eye if self.joint else nn.Module()


class NoEncoder(nn.Module):
    """Leaves observations without an image as they are."""

    def forward(self, obs: Tensor, shift: Tensor | None = None) -> Tensor:
        """obs."""
        return obs

    def draw(self, size: int, generator: torch.Generator) -> None:
        """Nothing to shift."""

    @property
    def of_critic(self) -> nn.Module:
        """Nothing to train."""
        return self


Encoder = ConvEncoder | LatentEncoder | NoEncoder


def shifted(image: Float[Tensor, "batch h w c"], shift: Int[Tensor, "batch 2"]) -> Float[Tensor, "batch h w c"]:
    """Every image moved down and right by its shift; what comes in repeats the edge (DrQ, Kostrikov 2020)."""
    _, height, width, _ = image.shape
    rows = (torch.arange(height) - shift[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width) - shift[:, 1:]).clamp(0, width - 1)
    return image[torch.arange(len(image))[:, None, None], rows[:, :, None], columns[:, None, :]]


def encoder_for(obs_size: int, image: Image) -> tuple[Encoder, int]:
    """The encoder of observations of that size, headed by such an image if any, and the size of what it gives."""
    if image is None:
        return NoEncoder(), obs_size
    encoder = LatentEncoder(image) if isinstance(image, ToLatent) else ConvEncoder(image)
    with torch.no_grad():
        return encoder, encoder(torch.zeros(1, obs_size)).shape[1]


def seen_by(encoder: Encoder, actor: nn.Module) -> nn.Module:
    """The whole policy, from observation to action."""
    return actor if isinstance(encoder, NoEncoder) else nn.Sequential(encoder, actor)
