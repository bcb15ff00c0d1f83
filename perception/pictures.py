"""Pictures of what an encoder sees: frames above their reconstructions, and what each latent paints."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import pad

from perception.encoders.convolutions import Autoencoder

SHOWN = 8  # frames side by side
ENLARGED = 3  # times
SPREAD = 2.5  # standard deviations of a latent to either side
TRAVERSED = 8  # latents that vary most


@torch.inference_mode()
def reconstructions(encoder: Autoencoder, images: UInt8[Tensor, "n h w 3"]) -> bytes:
    """Return a PNG: up to eight images, evenly spaced, above their reconstructions."""
    return _png(_pairs(encoder, images))


@torch.inference_mode()
def traversals(encoder: Autoencoder, images: UInt8[Tensor, "n h w 3"], mu: Float[Tensor, "n z"]) -> bytes:
    """Return a PNG: the reconstructions, and below a row for each of the latents that vary most.

    Along a row the latent goes from −2.5 to 2.5 of its standard deviations, the others stand at their mean.
    """
    mean, std = mu.mean(dim=0), mu.std(dim=0, correction=0)
    rows = _pairs(encoder, images)
    for unit in std.argsort(descending=True)[:TRAVERSED].tolist():
        z = mean.repeat(SHOWN, 1)
        z[:, unit] += std[unit] * torch.linspace(-SPREAD, SPREAD, SHOWN)
        rows.append(encoder.decode(z))
    return _png(rows)


def _pairs(encoder: Autoencoder, images: UInt8[Tensor, "n h w 3"]) -> list[Float[Tensor, "m 3 rows w"]]:
    shown = images[np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)]
    return [encoder.seen(shown), encoder.reconstruct(shown)]


def _png(rows: list[Float[Tensor, "m 3 rows w"]]) -> bytes:
    """Rows of pictures below each other, with a white line around each."""
    tiles = [(row.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().byte() for row in rows]
    lines = [torch.cat(list(pad(row, (0, 0, 1, 1, 1, 1), value=255)), dim=1) for row in tiles]
    small = torch.cat(lines).numpy()
    large = cv2.resize(small, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", cv2.cvtColor(large, cv2.COLOR_RGB2BGR))[1].tobytes()
