"""The light racecar drives like pybullet_data's racecar, whose wheels roll on the road, under the same commands."""

import math
import os

import numpy as np
import pybullet
import pybullet_data
import pytest

from sim.car import Car, ackermann, lay_ground
from sim.vehicles.racecar import RACECAR

STEP_S = 1 / 240
REAR, HINGES, FRONT = [2, 3], [4, 6], [5, 7]  # links of racecar.urdf, left and right


class UrdfCar:
    """racecar/racecar.urdf with the spec's steering, tyre friction and torque.

    Set from the spec are the grip of the tyres, Ackermann's angles of the hinges, and the torque of the two rear
    wheels: what gives the URDF's own mass, and its wheels' inertia, the maximal acceleration. The rear wheels are
    driven to the speeds that a differential would give them. Set by us is how soft the tyres are, about as rubber:
    with the URDF's own the wheels hop, spin in the air, and the car takes a quarter longer to 1.5 m/s; and PyBullet's
    air resistance, to none. All else is the URDF's: masses, sizes, the shape of the wheels, and with them the circle
    that it drives and the time that it takes.
    """

    def __init__(self) -> None:
        self.client = pybullet.connect(pybullet.DIRECT)
        lay_ground(self.client)
        pybullet.setPhysicsEngineParameter(fixedTimeStep=STEP_S, numSolverIterations=50, physicsClientId=self.client)
        urdf = os.path.join(pybullet_data.getDataPath(), "racecar", "racecar.urdf")
        self.body = pybullet.loadURDF(
            urdf,
            [0, 0, RACECAR.wheel_radius_m],
            flags=pybullet.URDF_USE_INERTIA_FROM_FILE,
            physicsClientId=self.client,
        )
        links = range(-1, pybullet.getNumJoints(self.body, self.client))
        parts = {link: pybullet.getDynamicsInfo(self.body, link, self.client) for link in links}
        self.mass_kg = sum(part[0] for part in parts.values())
        pybullet.changeDynamics(self.body, -1, linearDamping=0, angularDamping=0, physicsClientId=self.client)
        inertia_kgm2 = sum(parts[wheel][2][2] for wheel in REAR + FRONT)  # about their axles
        effective_kg = self.mass_kg + inertia_kgm2 / RACECAR.wheel_radius_m**2
        self.torque_nm = effective_kg * RACECAR.max_acceleration_mps2 * RACECAR.wheel_radius_m / 2
        for wheel in REAR + FRONT:
            pybullet.changeDynamics(
                self.body,
                wheel,
                lateralFriction=RACECAR.tyre_friction,
                contactStiffness=1e4,  # N/m
                contactDamping=100,  # N s/m
                physicsClientId=self.client,
            )
            pybullet.setJointMotorControl2(
                self.body, wheel, pybullet.VELOCITY_CONTROL, force=0, physicsClientId=self.client
            )

    def drive(self, steering_rad: float, speed_mps: float, duration_s: float) -> np.ndarray:
        """Poses of the rear axle's middle and speeds (x, y, yaw, v) after each step, (steps, 4)."""
        angles = ackermann(steering_rad, RACECAR.wheelbase_m, RACECAR.track_m)
        lean = math.tan(steering_rad) * RACECAR.track_m / 2 / RACECAR.wheelbase_m
        for hinge, angle in zip(HINGES, angles, strict=True):
            pybullet.setJointMotorControl2(
                self.body, hinge, pybullet.POSITION_CONTROL, targetPosition=angle, physicsClientId=self.client
            )
        for wheel, ratio in zip(REAR, (1 - lean, 1 + lean), strict=True):
            pybullet.setJointMotorControl2(
                self.body,
                wheel,
                pybullet.VELOCITY_CONTROL,
                targetVelocity=speed_mps * ratio / RACECAR.wheel_radius_m,
                force=self.torque_nm,
                physicsClientId=self.client,
            )
        return np.array([self._step() for _ in range(round(duration_s / STEP_S))])

    def _step(self) -> tuple[float, float, float, float]:
        pybullet.stepSimulation(self.client)
        (x, y, _), orientation = pybullet.getBasePositionAndOrientation(self.body, self.client)
        (vx, vy, _), _ = pybullet.getBaseVelocity(self.body, self.client)
        yaw = pybullet.getEulerFromQuaternion(orientation)[2]
        return x, y, yaw, vx * math.cos(yaw) + vy * math.sin(yaw)


@pytest.fixture
def reference():
    car = UrdfCar()
    yield car
    pybullet.disconnect(car.client)


@pytest.fixture
def light():
    client = pybullet.connect(pybullet.DIRECT)
    lay_ground(client)
    yield Car(client, RACECAR)
    pybullet.disconnect(client)


def drive(car: Car, steering_rad: float, speed_mps: float, duration_s: float, step_s: float = 1 / 30) -> np.ndarray:
    """Poses of the rear axle's middle and speeds (x, y, yaw, v) after each step, (steps, 4)."""
    car.follow(steering_rad, speed_mps)
    passed = np.array([car.advance(step_s)[:4] for _ in range(round(duration_s / step_s))])
    passed[:, 0] -= RACECAR.wheelbase_m / 2 * np.cos(passed[:, 2])
    passed[:, 1] -= RACECAR.wheelbase_m / 2 * np.sin(passed[:, 2])
    return passed


def radius_m(passed: np.ndarray) -> float:
    """Of the circle that the rear axle's middle drives, left positive: the way over the turn."""
    x, y, yaw, _ = passed.T
    turned_rad = np.unwrap(yaw)
    return np.hypot(np.diff(x), np.diff(y)).sum() / (turned_rad[-1] - turned_rad[0])


def time_s(speed_mps: np.ndarray, wanted_mps: float, step_s: float) -> float:
    """When that speed was reached, from rest at time 0, between the steps by interpolation."""
    i = int(np.argmax(speed_mps >= wanted_mps))
    before = speed_mps[i - 1]
    return (i + (wanted_mps - before) / (speed_mps[i] - before)) * step_s


def test_it_has_the_mass_of_the_reference(reference):
    assert RACECAR.mass_kg == pytest.approx(reference.mass_kg, rel=0.01)


@pytest.mark.parametrize("steering", [1.0, -0.6, 0.3])
def test_it_turns_on_the_circle_of_the_reference(reference, light, steering):
    steering_rad = steering * RACECAR.max_steering_rad
    theirs = radius_m(reference.drive(steering_rad, RACECAR.top_speed_mps, 8.0)[round(3 / STEP_S) :])
    ours = radius_m(drive(light, steering_rad, RACECAR.top_speed_mps, 8.0, 0.1)[30:])
    assert ours == pytest.approx(theirs, rel=0.05)


@pytest.mark.parametrize("speed_mps", [0.5, 1.5])
def test_it_is_as_quickly_at_a_speed_as_the_reference(reference, light, speed_mps):
    reference.drive(0.0, 0.0, 0.5)  # until it has settled on its tyres
    theirs = time_s(reference.drive(0.0, 2.0, 2.0)[:, 3], speed_mps, STEP_S)
    ours = time_s(drive(light, 0.0, 2.0, 2.0)[:, 3], speed_mps, 1 / 30)
    assert ours == pytest.approx(theirs, rel=0.1)
