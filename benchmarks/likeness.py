"""How alike two pictures are."""

import cv2
import numpy as np


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two RGB pictures' grey, Gaussian window of σ 1.5 (Wang 2004, eq. 13)."""
    a, b = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float) for picture in (a, b))
    mean_a, mean_b, square_a, square_b, product_ab = (
        cv2.GaussianBlur(image, (11, 11), 1.5) for image in (a, b, a * a, b * b, a * b)
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product_ab - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean())
