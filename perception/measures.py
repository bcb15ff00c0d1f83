"""Figures of an encoder: what its latent knows, how true its pictures are, how much of it is in use."""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from perception.encoders import Familiar
from perception.encoders.convolutions import Autoencoder
from perception.shards import LABELS

RIDGE = 1e-3  # shrinkage per sample, of standardised latents
ACTIVE_VARIANCE = 0.01  # Burda 2016, section 5.2: Var of mu over the data above this
CHUNK = 256  # images at once


def ridge_r2(latents: np.ndarray, labels: np.ndarray, held_latents: np.ndarray, held_labels: np.ndarray) -> np.ndarray:
    """Return the share of each label's variance that a ridge regression explains on samples it was not fitted to.

    latents: (n, z), labels: (n, k); held_latents: (m, z), held_labels: (m, k); returns (k,) float64, R² = 1 − Σ(y − ŷ)²
    / Σ(y − ȳ)² on the held samples: 1 is perfect, 0 is as good as their mean; NaN where they have no variance.
    """
    mean, scale, offset = latents.mean(axis=0), latents.std(axis=0) + 1e-12, labels.mean(axis=0)
    x = (latents - mean).astype(np.float64) / scale
    weights = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ (labels - offset))
    error = held_labels - offset - (held_latents - mean) / scale @ weights
    variation = np.square(held_labels - held_labels.mean(axis=0)).sum(axis=0)
    return 1 - np.square(error).sum(axis=0) / np.where(variation > 0, variation, np.nan)


def known(
    z: Float[Tensor, "n z"], labels: np.ndarray, held_z: Float[Tensor, "m z"], held: np.ndarray
) -> dict[str, float]:
    """R² of each label that is known of all frames, see `ridge_r2`; of a real car none is."""
    told = ~np.isnan(np.concatenate([labels, held])).any(axis=0)
    r2 = ridge_r2(z.numpy(), labels[:, told], held_z.numpy(), held[:, told])
    return dict(zip(np.array(LABELS)[told].tolist(), r2.tolist(), strict=True))


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio of pixels in [0, 1]: −10 log₁₀ of the mean squared error."""
    return -10 * math.log10(mse) if mse > 0 else math.inf


def ssim(a: Float[np.ndarray, "h w"], b: Float[np.ndarray, "h w"]) -> float:
    """Structural similarity of two grey pictures in [0, 1], Gaussian window of σ 1.5 (Wang 2004, eq. 13)."""
    mean_a, mean_b, square_a, square_b, product = (
        cv2.GaussianBlur(picture.astype(np.float64), (11, 11), 1.5) for picture in (a, b, a * a, b * b, a * b)
    )
    c1, c2 = 0.01**2, 0.03**2
    variances = square_a - mean_a**2 + square_b - mean_b**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * (product - mean_a * mean_b) + c2)
    return float((likeness / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean())


def active_units(mu: Float[Tensor, "n z"]) -> int:
    """Return how many latents vary with the image: variance of the mean above 0.01 (Burda 2016, section 5.2)."""
    return int((mu.var(dim=0, correction=0) > ACTIVE_VARIANCE).sum())


@torch.inference_mode()
def means(encoder: Autoencoder, images: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n z"]:
    """The latents of many images, what a policy would see of each."""
    return torch.cat([encoder.encode_mean(chunk) for chunk in images.split(CHUNK)])


def squared_errors(encoder: Autoencoder, z: Float[Tensor, "n z"], images: UInt8[Tensor, "n h w 3"]) -> Tensor:
    """(n,) mean squared errors of what z is painted as, over pixels in [0, 1] and colours."""
    return (encoder.decode(z) - encoder.seen(images)).square().mean(dim=(1, 2, 3))


@torch.inference_mode()
def errors(encoder: Autoencoder, images: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, " n"]:
    """The mean squared error of each image's reconstruction, over pixels in [0, 1] and colours."""
    return torch.cat([squared_errors(encoder, encoder.encode_mean(c), c) for c in images.split(CHUNK)])


def familiar_by(error: Float[Tensor, " n"]) -> Familiar:
    """What an encoder is used to that rebuilds images of that with such mean squared errors."""
    return Familiar(*np.quantile(error.numpy(), (0.5, 0.9, 0.99)).tolist())
