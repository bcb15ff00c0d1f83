"""What a training step of any encoder lowers, whether it is trained on a dataset or while a policy learns."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from perception.encoders.convolutions import Autoencoder, Loss
from perception.warp import Ruler, WarpConfig, warped


def taught(
    encoder: Autoencoder,
    ruler: Ruler,
    frames: UInt8[Tensor, "n h w 3"],
    warp: WarpConfig,
    generator: torch.Generator,
    progress: float,
) -> Loss:
    """The encoder's loss for those frames, each warped in two ways, with the ruler's weighted error in its total.

    progress: the part of training that is done, 0 to 1.
    """
    device, batch = frames.device, warped(frames.repeat(2, 1, 1, 1), warp, generator)
    with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
        loss = encoder.loss(batch.images, generator, progress)
    if not warp.weight:
        return loss
    return loss._replace(total=loss.total + warp.weight * ruler.error(loss.mean, batch.amounts, batch.sign))


def has_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 is computed in hardware; elsewhere it is slower than float32."""
    return device.type == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
