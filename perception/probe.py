"""What a latent knows: how much of a label a linear map can read from it."""

import numpy as np

RIDGE = 1e-3  # shrinkage per sample, of standardised latents


def ridge_r2(latents: np.ndarray, labels: np.ndarray, held_latents: np.ndarray, held_labels: np.ndarray) -> np.ndarray:
    """Return the share of each label's variance that a ridge regression explains on samples it was not fitted to.

    latents: (n, z), labels: (n, k); held_latents: (m, z), held_labels: (m, k); returns (k,) float64, R² = 1 − Σ(y − ŷ)²
    / Σ(y − ȳ)² on the held samples: 1 is perfect, 0 is as good as their mean.
    """
    mean, scale, offset = latents.mean(axis=0), latents.std(axis=0) + 1e-12, labels.mean(axis=0)
    x = (latents - mean).astype(np.float64) / scale
    weights = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ (labels - offset))
    error = held_labels - offset - (held_latents - mean) / scale @ weights
    return 1 - np.square(error).sum(axis=0) / np.square(held_labels - held_labels.mean(axis=0)).sum(axis=0)
