"""What a camera would have seen a little elsewhere: warps of a frame that stand for a move across the lane, a turn of
the car and a bend of the road, and how far each went.

On a flat road the depth of an image row is inversely proportional to how far it lies below the horizon, r. So a move
across the lane shifts a row by an amount proportional to r, a turn shifts all rows alike (to first order), and a
bend of curvature κ, which leaves its tangent by κd²/2 at distance d, shifts it by an amount proportional to 1/r. The
first two are how NVIDIA's PilotNet made frames off the centre of the lane (Bojarski 2016, section 2).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

NEAREST = 0.06  # of the way from horizon to bottom: rows above it bend no further, they are too far to see


@dataclass(frozen=True)
class WarpConfig:
    horizon: float = 0.28  # where the horizon is, as a part of the height from the top; 0.28 on the city car
    move: float = 0.125  # greatest shift of the bottom row by a move, as a part of the width; 0.2 m of the city car
    turn: float = 0.08  # greatest shift by a turn, as a part of the width; 0.13 rad of the city car
    bend: float = 0.06  # greatest shift by a bend, a tenth of the way down from the horizon, as a part of the width
    weight: float = 100.0  # of the ruler's squared error in the loss of a pretraining step; 0 = warp, but ask nothing


class Warped(NamedTuple):
    """Images, what was done to them before they were mirrored, in [-1, 1] of the greatest, and whether they were."""

    images: UInt8[Tensor, "b h w 3"]
    amounts: Float[Tensor, "b 3"]  # move, turn, bend
    sign: Float[Tensor, "b 1"]  # -1 where mirrored, which the policy's drives are too, else 1


def warped(images: UInt8[Tensor, "b h w 3"], config: WarpConfig, generator: torch.Generator) -> Warped:
    """Warp each image by amounts of its own, the edge repeated, and mirror about half of them."""
    b, _, w, _ = images.shape
    device = images.device
    amounts = torch.rand((b, 3), generator=generator, device=device) * 2 - 1
    sign = torch.where(torch.rand((b, 1), generator=generator, device=device) < 0.5, -1.0, 1.0)
    shift = amounts @ _shifts_px(images, config)
    columns = torch.arange(w, device=device).float()
    columns = torch.where(sign < 0, w - 1 - columns, columns)
    return Warped(_sampled(images, columns[:, None] + shift[:, :, None]), amounts, sign)


def _shifts_px(images: UInt8[Tensor, "b h w 3"], config: WarpConfig) -> Float[Tensor, "3 h"]:
    """How far move, turn and bend shift each row at most."""
    _, h, w, _ = images.shape
    rows = (torch.arange(h, device=images.device) + 0.5) / h
    depth = ((rows - config.horizon) / (1 - config.horizon)).clamp(min=0)  # 0 at the horizon and above, 1 at the bottom
    bend = torch.where(depth > 0, 0.1 / depth.clamp(min=NEAREST), 0)
    return w * torch.stack([config.move * depth, torch.full_like(depth, config.turn), config.bend * bend])


def _sampled(images: UInt8[Tensor, "b h w 3"], columns: Float[Tensor, "b h w"]) -> UInt8[Tensor, "b h w 3"]:
    """The images at these columns of each row, linear between two, the edge repeated."""
    last = images.shape[2] - 1
    columns = columns.clamp(0, last)
    left = columns.long()
    part = (columns - left)[..., None]
    a, b = (images.gather(2, i[..., None].expand(images.shape)).float() for i in (left, (left + 1).clamp(max=last)))
    return torch.lerp(a, b, part).round().byte()


class Ruler(nn.Module):
    """Reads by a linear map from a latent how far the car stands from somewhere, three numbers.

    Nobody knows where that is; but of two warps of one frame it is known by how much they differ. Asking for that
    makes place and bend linear in the latent, with no label: a frame's mirrored twin must read the opposite.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.read = nn.Linear(latent, 3, bias=False)

    def error(
        self, z: Float[Tensor, "b z"], amounts: Float[Tensor, "b 3"], sign: Float[Tensor, "b 1"]
    ) -> Float[Tensor, ""]:
        """Mean squared disagreement, where image i + b/2 is another warp of the frame of image i."""
        unwarped = sign * self.read(z) - amounts
        first, second = unwarped.chunk(2)
        return (first - second).square().mean()
