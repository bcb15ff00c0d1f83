"""What no driver knows about the car: how late and how far off it obeys, and how late its frames come."""

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from sim.spec import VehicleSpec

STANDING = (0.0, -1.0)  # the action before the first command


@dataclass(frozen=True)
class Dynamics:
    """How one car differs from what it is told and from what it sees; by default not at all."""

    steering_offset_rad: float = 0.0  # the wheels stand so far left of where they are told to
    steering_lag_s: float = 0.0  # time constant with which they follow
    actuation_delay: int = 0  # control periods until a command is obeyed
    frame_delay: int = 0  # control periods until a frame is seen
    frame_drop: float = 0.0  # probability that a frame is lost, and the one before it seen again
    seed: int = 0  # of which frames are lost


@dataclass(frozen=True)
class DynamicsRange:
    """Within what a car varies from one episode to the next; by default not at all."""

    mass: float = 0.0  # ± as a part of the preset's
    friction: float = 0.0  # ± as a part of the preset's
    steering_offset_rad: float = 0.0  # ±
    steering_lag_s: float = 0.0  # at most
    camera_height: float = 0.0  # ± as a part of the preset's
    camera_pitch_rad: float = 0.0  # ±
    camera_yaw_rad: float = 0.0  # ±
    camera_fov_rad: float = 0.0  # ±
    actuation_delay: int = 0  # control periods, at most
    frame_delay: int = 0  # control periods, at most
    frame_drop: float = 0.0  # probability, at most


def draw_dynamics(
    within: DynamicsRange, vehicle: VehicleSpec, rng: np.random.Generator
) -> tuple[VehicleSpec, Dynamics]:
    """Draw one car: the vehicle with another mass, grip and camera, and how it obeys; all evenly within the range."""
    mass, friction, offset, height, pitch, yaw, fov = rng.uniform(-1, 1, 7).tolist()
    lag, drop = rng.uniform(0, 1, 2).tolist()
    delays = within.actuation_delay + 1, within.frame_delay + 1
    late_commands, late_frames, seed = rng.integers([*delays, 2**31]).tolist()
    camera = replace(
        vehicle.camera,
        height_m=vehicle.camera.height_m * (1 + within.camera_height * height),
        pitch_rad=vehicle.camera.pitch_rad + within.camera_pitch_rad * pitch,
        yaw_rad=vehicle.camera.yaw_rad + within.camera_yaw_rad * yaw,
        fov_rad=vehicle.camera.fov_rad + within.camera_fov_rad * fov,
    )
    drawn = replace(
        vehicle,
        mass_kg=vehicle.mass_kg * (1 + within.mass * mass),
        tyre_friction=vehicle.tyre_friction * (1 + within.friction * friction),
        camera=camera,
    )
    dynamics = Dynamics(
        steering_offset_rad=within.steering_offset_rad * offset,
        steering_lag_s=within.steering_lag_s * lag,
        actuation_delay=late_commands,
        frame_delay=late_frames,
        frame_drop=within.frame_drop * drop,
        seed=seed if within.frame_drop else 0,  # else it would be another car in every episode
    )
    return drawn, dynamics


class Actuation:
    """Between command and wheels, once every control period: delay, the steering's rate limit, its lag and its offset.

    "Executed" is what the motors were told after delay and rate limit. Lag and offset come after it: the driver does
    not know of them.
    """

    def __init__(self, dynamics: Dynamics, vehicle: VehicleSpec, period_s: float) -> None:
        self._delay = dynamics.actuation_delay
        self._reach = vehicle.max_steering_rate_radps * period_s / vehicle.max_steering_rad
        # A first-order lag's step response over one period, 1 − exp(−T/τ).
        self._gain = -math.expm1(-period_s / dynamics.steering_lag_s) if dynamics.steering_lag_s > 0 else 1.0
        self._offset_rad = dynamics.steering_offset_rad
        self._lock_rad, self._top_mps = vehicle.max_steering_rad, vehicle.top_speed_mps
        self.reset()

    def reset(self) -> np.ndarray:
        """Forget all commands: the car stands. Return what is executed now, (2,) float32."""
        self._pending = deque([STANDING] * self._delay)
        self._steering, self._wheels = 0.0, 0.0
        return np.array(STANDING, np.float32)

    def command(self, action: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Take the command of one control period, (2,), clipped to [-1, 1]; ValueError if it is not a number.

        Returns the action that is executed now, (2,) float32, and the targets of the wheels' angle in rad and of the
        speed in m/s.
        """
        steering, speed = action.tolist()
        if math.isnan(steering + speed):
            raise ValueError(f"action is {action}; expected two numbers")
        self._pending.append((min(max(steering, -1.0), 1.0), min(max(speed, -1.0), 1.0)))
        steering, speed = self._pending.popleft()
        steering = min(max(steering, self._steering - self._reach), self._steering + self._reach)
        return self._execute(steering, speed)

    def brake(self) -> tuple[np.ndarray, float, float]:
        """Let the car brake by itself, at once, with its steering held; return what `command` does.

        Commands that are still on their way are lost.
        """
        self._pending = deque([(self._steering, -1.0)] * self._delay)
        return self._execute(self._steering, -1.0)

    def _execute(self, steering: float, speed: float) -> tuple[np.ndarray, float, float]:
        executed = np.array((steering, speed), np.float32)
        self._steering, speed = executed.tolist()
        self._wheels += self._gain * (self._steering - self._wheels)
        return executed, self._wheels * self._lock_rad + self._offset_rad, (speed + 1) / 2 * self._top_mps


class FrameDelay:
    """Between camera and driver: frames that come late, and some never."""

    def __init__(self, dynamics: Dynamics) -> None:
        self._drop, self._rng = dynamics.frame_drop, np.random.default_rng(dynamics.seed)
        self._frames: deque[np.ndarray] = deque(maxlen=dynamics.frame_delay + 1)
        self._perfect = dynamics.frame_delay == 0 and dynamics.frame_drop == 0
        self._seen: np.ndarray | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Hand in the frame that was taken now; return the one that is seen now, which is the caller's own.

        Until there are enough frames the first one is seen; it is never lost.
        """
        if self._perfect:
            return image
        self._frames.append(image.copy())
        if self._seen is None or self._rng.random() >= self._drop:
            self._seen = self._frames[0]
        return self._seen.copy()
