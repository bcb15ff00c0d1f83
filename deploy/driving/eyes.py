"""Whether a camera still sees: a picture that is old, frozen, black or of the wrong size is none to drive by."""

from collections.abc import Callable

import numpy as np

from deploy.driving.faults import Fault
from deploy.vehicles import Frame, VehicleSpec

BLACK = 4.0  # mean of all pixels, of 255; the darkest of 160 scenes of the simulator has 67
MOVING_MPS = 0.5  # faster, and no two pictures are the same
FROZEN_S = 0.08  # that a picture lasts on a moving car: longer than a camera's period at 15 Hz, shorter than the car's


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


def late(frame: Frame, asked_at_s: float, bound_s: float) -> Fault | None:
    """What is wrong with a picture that was older than `bound_s` when it was asked for: the camera hangs."""
    age_s = asked_at_s - frame.captured_at_s
    return Fault("camera", f"its newest picture is {age_s * 1e3:.0f} ms old") if age_s > bound_s else None
