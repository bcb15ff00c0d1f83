"""Whether a camera still sees: a picture that is frozen, black or of the wrong size is none to drive by."""

from collections.abc import Callable

import numpy as np

from deploy.driving.faults import Fault
from deploy.vehicles import Frame, VehicleSpec

BLACK = 4.0  # mean of all pixels, of 255; the darkest of 160 scenes of the simulator has 67
MOVING_MPS = 0.5  # faster, and no two pictures are the same
FROZEN_S = (
    0.08  # that a picture lasts on a moving car; more than the period of a camera of 15 Hz, less than that of a car
)


def camera_check(spec: VehicleSpec) -> Callable[[Frame], Fault | None]:
    """A function that is told every frame, and says what is wrong with it."""
    size = (spec.image_height, spec.image_width, 3)
    lasting: Frame | None = None  # the first with the present picture

    def check(frame: Frame) -> Fault | None:
        nonlocal lasting
        if lasting is None or not np.array_equal(lasting.image, frame.image) or frame.speed_mps <= MOVING_MPS:
            lasting = frame
        if frame.image.shape != size:
            return Fault("camera", f"giving pictures of {frame.image.shape}, expected {size}")
        if frame.image.mean() < BLACK:
            return Fault("camera", "black")
        if (frozen_s := frame.captured_at_s - lasting.captured_at_s) > FROZEN_S:
            return Fault("camera", f"frozen: it shows the same for {frozen_s * 1e3:.0f} ms while the car moves")
        return None

    return check
