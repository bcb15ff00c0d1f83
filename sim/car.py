"""The car as a PyBullet multi-body: a chassis, two steering hinges and four wheels.

The wheels touch the road as spheres: each stands on the point under its centre, rolls freely and holds
sideways by Coulomb friction, in a fifth of the time that a racecar with its differential takes to step.
"""

import math

import pybullet

from sim.spec import VehicleSpec

WHEEL_MASS_KG = 10.0
HINGE_MASS_KG = 2.0
HINGES, WHEELS = [0, 2], [1, 3, 4, 5]  # PyBullet numbers links depth first: a hinge, then the wheel on it
STEERING_TORQUE_NM = 2000.0
CENTRE_OF_MASS_M = 0.1  # above the axles: batteries lie low


class Car:
    """An Ackermann car that follows a steering angle and a speed set-point within its limits."""

    def __init__(self, client: int, spec: VehicleSpec) -> None:
        self.client, self.spec = client, spec
        self.body = self._build()

    def _build(self) -> int:
        spec, client = self.spec, self.client
        x, y = spec.wheelbase_m / 2, spec.track_m / 2
        chassis_kg = spec.mass_kg - 4 * WHEEL_MASS_KG - 2 * HINGE_MASS_KG
        half = [spec.length_m / 2, spec.width_m / 2 - 0.1, spec.height_m / 3]
        chassis = pybullet.createVisualShape(
            pybullet.GEOM_BOX,
            halfExtents=half,
            visualFramePosition=[0, 0, spec.height_m / 3],
            rgbaColor=[0.8, 0.1, 0.1, 1],
            physicsClientId=client,
        )
        wheel = pybullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=spec.wheel_radius_m, physicsClientId=client)
        corners = [[x, y, 0], [0, 0, 0], [x, -y, 0], [0, 0, 0], [-x, y, 0], [-x, -y, 0]]
        upright, level = [0, 0, 1], [0, 1, 0]
        body = pybullet.createMultiBody(
            baseMass=chassis_kg,
            baseVisualShapeIndex=chassis,
            baseInertialFramePosition=[0, 0, CENTRE_OF_MASS_M],
            basePosition=[0, 0, spec.wheel_radius_m],
            linkMasses=[HINGE_MASS_KG, WHEEL_MASS_KG] * 2 + [WHEEL_MASS_KG] * 2,
            linkCollisionShapeIndices=[-1, wheel, -1, wheel, wheel, wheel],
            linkVisualShapeIndices=[-1] * 6,
            linkPositions=corners,
            linkOrientations=[[0, 0, 0, 1]] * 6,
            linkInertialFramePositions=[[0, 0, 0]] * 6,
            linkInertialFrameOrientations=[[0, 0, 0, 1]] * 6,
            linkParentIndices=[0, 1, 0, 3, 0, 0],
            linkJointTypes=[pybullet.JOINT_REVOLUTE] * 6,
            linkJointAxis=[upright, level, upright, level, level, level],
            physicsClientId=client,
        )
        self._set_inertia(body, chassis_kg)
        return body

    def _set_inertia(self, body: int, chassis_kg: float) -> None:
        """Give the chassis its box's inertia, light parts enough for the solver, and the tyres friction."""
        spec = self.spec
        a, b, c = spec.length_m**2, spec.width_m**2, spec.height_m**2
        box = [chassis_kg / 12 * (b + c), chassis_kg / 12 * (a + c), chassis_kg / 12 * (a + b)]
        pybullet.changeDynamics(
            body, -1, localInertiaDiagonal=box, linearDamping=0, angularDamping=0, physicsClientId=self.client
        )
        for hinge in HINGES:
            pybullet.changeDynamics(body, hinge, localInertiaDiagonal=[0.1] * 3, physicsClientId=self.client)
        for wheel in WHEELS:
            pybullet.changeDynamics(
                body,
                wheel,
                lateralFriction=spec.tyre_friction,
                rollingFriction=0,
                physicsClientId=self.client,
            )

    def place(self, x_m: float, y_m: float, yaw_rad: float) -> None:
        """Stand the car there at rest with its wheels straight."""
        orientation = [0, 0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)]
        height_m = self.spec.wheel_radius_m + CENTRE_OF_MASS_M  # PyBullet places the centre of mass
        for z_m in (height_m + 1, height_m):  # lifted first, the wheels forget the ground that they stood on
            pybullet.resetBasePositionAndOrientation(self.body, [x_m, y_m, z_m], orientation, self.client)
            pybullet.performCollisionDetection(self.client)
        pybullet.resetBaseVelocity(self.body, [0, 0, 0], [0, 0, 0], self.client)
        for joint in HINGES + WHEELS:
            pybullet.resetJointState(self.body, joint, 0, 0, self.client)
        self.follow(0.0, 0.0)

    def follow(self, steering_rad: float, speed_mps: float) -> None:
        """Set the motors' targets: the bicycle model's steering angle and the speed of the car's centre."""
        spec = self.spec
        left, right = ackermann(steering_rad, spec.wheelbase_m, spec.track_m)
        pybullet.setJointMotorControlArray(
            self.body,
            HINGES,
            pybullet.POSITION_CONTROL,
            targetPositions=[left, right],
            forces=[STEERING_TORQUE_NM] * 2,
            physicsClientId=self.client,
        )
        braking = speed_mps < self.speed_mps
        limit = spec.max_braking_mps2 if braking else spec.max_acceleration_mps2
        force = limit * spec.mass_kg * spec.wheel_radius_m / (4 if braking else 2)
        # As a differential would: the inner wheel turns slower.
        lean = math.tan(steering_rad) * spec.track_m / 2 / spec.wheelbase_m
        rolling = [speed_mps * ratio / spec.wheel_radius_m for ratio in (1, 1, 1 - lean, 1 + lean)]
        forces = [force if braking else 0.0] * 2 + [force] * 2
        pybullet.setJointMotorControlArray(
            self.body,
            WHEELS,
            pybullet.VELOCITY_CONTROL,
            targetVelocities=rolling,
            forces=forces,
            physicsClientId=self.client,
        )

    @property
    def pose(self) -> tuple[float, float, float]:
        """(x_m, y_m, yaw_rad) of the middle of the wheels."""
        (x, y, _), (_, _, qz, qw) = pybullet.getBasePositionAndOrientation(self.body, self.client)
        return x, y, 2 * math.atan2(qz, qw)

    @property
    def speed_mps(self) -> float:
        """Speed along the car's heading."""
        (vx, vy, _), _ = pybullet.getBaseVelocity(self.body, self.client)
        yaw = self.pose[2]
        return vx * math.cos(yaw) + vy * math.sin(yaw)

    @property
    def steering_rad(self) -> float:
        """The bicycle model's angle that the two front wheels stand at now."""
        left, right = (pybullet.getJointState(self.body, hinge, self.client)[0] for hinge in HINGES)
        return math.atan((math.tan(left) + math.tan(right)) / 2)


def ackermann(steering_rad: float, wheelbase_m: float, track_m: float) -> tuple[float, float]:
    """Return the angles in rad at which the left and the right front wheel turn about one centre.

    Ackermann's condition: cot δ_l = cot δ − t/2L and cot δ_r = cot δ + t/2L; δ is the bicycle model's angle.
    """
    tan = math.tan(steering_rad)
    lean = tan * track_m / 2 / wheelbase_m
    return math.atan(tan / (1 - lean)), math.atan(tan / (1 + lean))
