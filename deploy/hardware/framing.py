"""Making a camera's picture one of the shape that a policy was trained for."""

import cv2
import numpy as np
from numpy.typing import NDArray


def fit(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The largest middle part of an image that has the shape wanted, (H, W, 3), scaled to (height, width, 3) uint8.

    Each new pixel is the mean of those that it covers. Raises ValueError for what is no such image.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"picture is {image.dtype} {image.shape}; expected uint8 (height, width, 3)")
    tall, wide = image.shape[:2]
    if (tall, wide) == (height, width):
        return image
    scale = min(tall / height, wide / width)
    rows, columns = round(height * scale), round(width * scale)
    top, left = (tall - rows) // 2, (wide - columns) // 2
    middle = image[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(middle, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
