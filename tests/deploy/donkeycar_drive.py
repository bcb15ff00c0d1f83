"""A drive in donkeycar's own vehicle loop with its own parts; test_donkeycar_part.py runs it where donkeycar is.

python donkeycar_drive.py policy.onnx      # whose steering is 0.5 (left) and speed set-point 0
"""

import sys

import donkeycar
import numpy as np
from donkeycar.parts.actuator import PWMSteering, PWMThrottle
from donkeycar.templates.complete import DriveMode

from deploy.donkeycar_part import LapwingPilot

LEFT, RIGHT, FORWARD, STOP, REVERSE = 460, 290, 500, 370, 220  # pulses of donkeycar's configuration
LOOPS = 60  # at 20 Hz


class Camera:
    """A new picture in every loop, then always the same."""

    def __init__(self, fresh: int):
        self.fresh, self.count = fresh, 0
        self.image = np.full((120, 160, 3), 100, np.uint8)

    def run(self):
        self.count += 1
        if self.count <= self.fresh:
            self.image = np.full((120, 160, 3), 100 + self.count % 50, np.uint8)
        return self.image


class Pulses:
    """The wire to a motor, on which every pulse is kept."""

    def __init__(self):
        self.sent = []

    def set_pulse(self, pulse):
        self.sent.append(pulse)


class Mode:
    def run(self):
        return "local", True


def drive(policy: str, threaded: bool, fresh: int) -> tuple[list[int], list[int]]:
    """The pulses of servo and ESC in so many loops, `fresh` of which have a new picture."""
    vehicle = donkeycar.Vehicle()
    servo, esc = Pulses(), Pulses()
    pilot = LapwingPilot.load(policy, max_throttle=0.4)
    vehicle.add(Camera(fresh), outputs=["cam/image_array"])
    vehicle.add(Mode(), outputs=["user/mode", "run_pilot"])
    vehicle.add(
        pilot,
        inputs=["cam/image_array", "enc/speed"],
        outputs=["pilot/angle", "pilot/throttle"],
        threaded=threaded,
        run_condition="run_pilot",
    )
    vehicle.add(
        DriveMode(1.0),
        inputs=["user/mode", "user/angle", "user/throttle", "pilot/angle", "pilot/throttle"],
        outputs=["steering", "throttle"],
    )
    vehicle.add(PWMSteering(servo, LEFT, RIGHT), inputs=["steering"])
    vehicle.add(PWMThrottle(esc, FORWARD, REVERSE, STOP), inputs=["throttle"])
    assert vehicle.start(rate_hz=20, max_loop_count=LOOPS), "the vehicle loop failed"
    return servo.sent, esc.sent[3:-1]  # without what arms the ESC, and the stop of the shutdown


for threaded in (False, True):
    servo, esc = drive(sys.argv[1], threaded, fresh=LOOPS)
    # Half to the left of the middle, 375, and half of 0.4 of the way from stop to forward.
    assert abs(servo[-1] - (LEFT + 375) / 2) <= 1, servo
    assert abs(esc[-1] - (STOP + 0.2 * (FORWARD - STOP))) <= 1, esc
    assert esc[0] == STOP, esc
    servo, esc = drive(sys.argv[1], threaded, fresh=LOOPS // 2)
    assert max(esc) > STOP, esc
    assert esc[-1] == STOP, esc
    print("threaded" if threaded else "not threaded", "drives left, and stops when the camera freezes")  # noqa: T201
