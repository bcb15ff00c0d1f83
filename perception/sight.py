"""What becomes of a camera image before a policy gets it: a pretrained encoder's latent, or nothing."""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from perception.encoders import load_encoder
from perception.encoders.convolutions import Autoencoder, EyeConfig

PIXELS = Path("pixels")  # stands for an encoder's file where the policy is to see by itself
ONLINE = Path("online")  # and where an encoder learns while the policy does, and becomes a part of it
LEARNED = PIXELS, ONLINE


class Pixels(nn.Module):
    """Leaves images as they are, as numbers 0 … 255 in the order (H, W, C), for the encoders of `agent.pixels`."""

    def __init__(self) -> None:
        super().__init__()
        self.config = EyeConfig()  # the size of images

    def encode_mean(self, images: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b pixels"]:
        """Return what a policy sees of the images."""
        return images.flatten(1).to(torch.float32)


Sight = Autoencoder | Pixels


def load_sight(path: Path) -> Sight:
    """The encoder in that file, or none where it is yet to be LEARNED. Raises EncoderError."""
    return Pixels() if path in LEARNED else load_encoder(path)
