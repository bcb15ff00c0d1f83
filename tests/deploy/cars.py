"""Cars that can be worked out by hand."""

from dataclasses import replace

import numpy as np

from deploy.driving.safety import Command
from deploy.vehicles import Frame, Truth, VehicleSpec

SPEC = VehicleSpec(image_height=8, image_width=8, top_speed_mps=2.0, max_steering_rad=0.5, max_steering_rate_radps=1.0)
MIDDLE = Truth(0.0, 0.0, 0.0, 0.0, 0.0, None, False, edge_m=1.0)
BLACK = np.zeros((8, 8, 3), np.uint8)


def frame(now_s: float, truth: Truth | None = MIDDLE, speed_mps: float = 0.0, **changes: object) -> Frame:
    """A black frame of a car in the middle of its lane but for some changes of the truth."""
    return Frame(BLACK, speed_mps, 0.0, now_s, truth and replace(truth, **changes))


class RealCar:
    """Goes on by speed set-point + 1 metres in every control cycle, and can only be put back by hand."""

    def __init__(self, road_seed: int = 0, length_m: float = 10.0):
        self.spec, self.length_m, self.now_s = SPEC, length_m, 100.0
        self.truth: Truth | None = None
        self.commands: list[Command] = []
        self.speed_mps = 0.0
        self.did: list[str] = []

    def read(self) -> Frame:
        self.did.append("read")
        image = BLACK.copy()
        image[0, 0], image[0, -1] = self.did.count("read"), 100 + self.did.count("read")  # left and right
        return replace(frame(self.now_s, self.truth, self.speed_mps), image=image)

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        self.now_s += duration_s

    def send(self, command: Command) -> np.ndarray:
        self.did.append("send")
        self.commands.append(command)
        self.speed_mps = command.speed + 1
        return np.array([command.steering / 2, command.speed], np.float32)  # its motors do half of what they are told

    def picture(self) -> np.ndarray:
        return BLACK

    def close(self) -> None:
        self.did.append("close")


class SimulatedCar(RealCar):
    """The same with a truth: after `leaves_m` it is off the lane, after `length_m` at the route's end."""

    leaves_m = np.inf

    def __init__(self, road_seed: int = 0, length_m: float = 10.0, speed: float = 1.0):
        super().__init__(road_seed, length_m)
        self.truth = MIDDLE
        self.put_back_to_m: list[float] = []

    def send(self, command: Command) -> np.ndarray:
        assert self.truth
        distance_m = self.truth.distance_m + command.speed + 1
        left = distance_m >= self.leaves_m
        self.truth = replace(
            self.truth,
            distance_m=distance_m,
            disengagement="off lane" if left else None,
            edge_m=-0.1 if left else 1.0,
            finished=distance_m >= self.length_m,
        )
        return super().send(command)

    def put_back(self, distance_m: float) -> None:
        self.put_back_to_m.append(distance_m)
        self.speed_mps, self.truth = 0.0, replace(MIDDLE, distance_m=distance_m)
