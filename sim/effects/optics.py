"""What camera effects share: a veil before the picture."""

import cv2
import numpy as np


class Veil:
    """A colour before the picture, image * (1 − weight) + colour * weight, as two passes over bytes."""

    def __init__(self, weight: np.ndarray, colour: tuple[float, float, float]) -> None:
        """weight: (h, w) in [0, 1]."""
        weight = np.clip(weight, 0, 1).astype(np.float32)
        self._kept = cv2.merge([cv2.convertScaleAbs(weight, alpha=-255, beta=255)] * 3)
        self._added = cv2.merge([cv2.convertScaleAbs(weight, alpha=channel) for channel in colour])

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Veil the image (h, w, 3) uint8 in place and return it."""
        cv2.multiply(image, self._kept, dst=image, scale=1 / 255)
        return cv2.add(image, self._added, dst=image)
