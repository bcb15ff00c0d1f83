"""Learning from the camera image itself: a convolutional encoder that the critic trains, and shifted images."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

FEATURES = 50  # numbers that an image becomes; SAC-AE (Yarats 2019)
SHIFT = 4  # pixels at most; DrQ (Kostrikov 2020)


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


class NoEncoder(nn.Module):
    """Leaves observations without an image as they are."""

    def forward(self, obs: Tensor, shift: Tensor | None = None) -> Tensor:
        """obs."""
        return obs

    def draw(self, size: int, generator: torch.Generator) -> None:
        """Nothing to shift."""


Encoder = ConvEncoder | NoEncoder


def shifted(image: Float[Tensor, "batch h w c"], shift: Int[Tensor, "batch 2"]) -> Float[Tensor, "batch h w c"]:
    """Every image moved down and right by its shift; what comes in repeats the edge (DrQ, Kostrikov 2020)."""
    _, height, width, _ = image.shape
    rows = (torch.arange(height) - shift[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width) - shift[:, 1:]).clamp(0, width - 1)
    return image[torch.arange(len(image))[:, None, None], rows[:, :, None], columns[:, None, :]]


def encoder_for(obs_size: int, image: tuple[int, int, int] | None) -> tuple[Encoder, int]:
    """The encoder of observations of that size, headed by such an image if any, and the size of what it gives."""
    if image is None:
        return NoEncoder(), obs_size
    encoder = ConvEncoder(image)
    with torch.no_grad():
        return encoder, encoder(torch.zeros(1, obs_size)).shape[1]


def seen_by(encoder: Encoder, actor: nn.Module) -> nn.Module:
    """The whole policy, from observation to action."""
    return actor if isinstance(encoder, NoEncoder) else nn.Sequential(encoder, actor)
