"""Whether a camera still sees: a picture that is frozen, black or of the wrong size is none to drive by."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deploy.faults import Fault
from deploy.vehicles import Frame, VehicleSpec

BLACK = 4.0  # mean of all pixels, of 255; the darkest night of the simulator has 20
MOVING_MPS = 0.5  # faster, and no two pictures are the same


def camera_check(spec: VehicleSpec) -> Callable[[Frame], Fault | None]:
    """A function that is told every frame, and says what is wrong with it."""
    size = (spec.image_height, spec.image_width, 3)
    before: NDArray[np.uint8] | None = None

    def check(frame: Frame) -> Fault | None:
        nonlocal before
        last, before = before, frame.image
        if frame.image.shape != size:
            return Fault("camera", f"giving pictures of {frame.image.shape}, expected {size}")
        if frame.image.mean() < BLACK:
            return Fault("camera", "black")
        if frame.speed_mps > MOVING_MPS and last is not None and np.array_equal(last, frame.image):
            return Fault("camera", "frozen: it shows twice the same while the car moves")
        return None

    return check
