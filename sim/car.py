"""The car as a PyBullet multi-body: a chassis and two front wheels that turn on upright hinges.

Where a wheel touches the road it slides freely along its own heading and holds sideways by Coulomb friction: that is
what a rolling tyre does, and no wheel has to spin for it. Drive and brakes push at the road. Wheels that spin give the
solver 18 coupled equations instead of 14, which it solves worse and in more than twice the time.
"""

import math
from typing import NamedTuple

import pybullet

from sim.spec import VehicleSpec

SUBSTEP_S = 1 / 30  # turns are within 0.5 % of the bicycle model's circle, see tests/contracts/test_sim_vehicles.py
SUBSTEPS = 3  # in one call of PyBullet, at most: a control period's
CAR_GROUP, GROUND_GROUP, OBSTACLE_GROUP = 1, 2, 64  # bits of PyBullet's collision groups
HINGES = [0, 1]  # left, right
WHEEL_MASS = 0.02  # of each front wheel, as a part of the car's
CENTRE_OF_MASS = 0.36  # above the axles, in wheel radii: batteries lie low
HINGE_GAIN = 0.5  # of the way that is left, a substep: seven eighths of it in a control period
GRAVITY_MPS2 = 9.81
SLIDING = [0.0, 1.0, 1.0]  # tyre friction forwards, sideways and upwards, relative to the coefficient


class Measured(NamedTuple):
    """Where the car is and what it does: the pose of the middle of its wheels, the speed along its heading."""

    x_m: float
    y_m: float
    yaw_rad: float
    speed_mps: float
    steering_rad: float  # the bicycle model's angle that the front wheels stand at
    yaw_rate_radps: float


class Car:
    """An Ackermann car that follows a steering angle and a speed set-point within its limits.

    It stands on the ground that `lay_ground` laid, and is what makes time pass in its PyBullet client. `measured`
    tells where it is now.
    """

    def __init__(self, client: int, spec: VehicleSpec) -> None:
        self.client, self.spec = client, spec
        self.body = _build(client, spec)
        self._substeps = 0  # that one call of PyBullet takes
        self._set_substeps(SUBSTEPS)
        self.respec(spec)
        self.place(0.0, 0.0, 0.0)

    def respec(self, spec: VehicleSpec) -> None:
        """Be a car of the same body with another mass, tyre friction or other limits, as if built so.

        Raises ValueError if `spec` is of another vehicle than the car was built as.
        """
        if spec.name != self.spec.name:
            raise ValueError(f"a {self.spec.name} cannot become a {spec.name}: build another car")
        self.spec = spec
        for link, (mass_kg, inertia) in zip([-1, *HINGES], _masses(spec), strict=True):
            pybullet.changeDynamics(
                self.body,
                link,
                mass=mass_kg,
                localInertiaDiagonal=inertia,
                lateralFriction=spec.tyre_friction,
                anisotropicFriction=SLIDING,
                physicsClientId=self.client,
            )
        self._torque_nm = spec.mass_kg * GRAVITY_MPS2 * spec.wheel_radius_m  # more than the tyres resist
        grip_mps2 = spec.tyre_friction * GRAVITY_MPS2
        self._acceleration_mps2 = min(spec.max_acceleration_mps2, grip_mps2 / 2)  # the rear axle bears half
        self._braking_mps2 = min(spec.max_braking_mps2, grip_mps2)
        self._road = [0.0, 0.0, -(1 + CENTRE_OF_MASS) * spec.wheel_radius_m]  # below the centre of mass

    def place(self, x_m: float, y_m: float, yaw_rad: float) -> None:
        """Stand the car there at rest with its wheels straight."""
        orientation = [0, 0, math.sin(yaw_rad / 2), math.cos(yaw_rad / 2)]
        height_m = -self._road[2]  # PyBullet places the centre of mass
        for z_m in (height_m + 1, height_m):  # lifted first, the wheels forget the ground that they stood on
            pybullet.resetBasePositionAndOrientation(self.body, [x_m, y_m, z_m], orientation, self.client)
            pybullet.performCollisionDetection(self.client)
        pybullet.resetBaseVelocity(self.body, [0, 0, 0], [0, 0, 0], self.client)
        for hinge in HINGES:
            pybullet.resetJointState(self.body, hinge, 0, 0, self.client)
        self.follow(0.0, 0.0)
        self.measured = self._measure()

    def follow(self, steering_rad: float, speed_mps: float) -> None:
        """Set the targets: the bicycle model's steering angle and the speed of the car's centre."""
        self._target_mps = speed_mps
        pybullet.setJointMotorControlArray(
            self.body,
            HINGES,
            pybullet.POSITION_CONTROL,
            targetPositions=ackermann(steering_rad, self.spec.wheelbase_m, self.spec.track_m),
            forces=[self._torque_nm / self._substeps] * 2,  # PyBullet grants a whole step's impulse each substep
            positionGains=[HINGE_GAIN] * 2,
            velocityGains=[1.0] * 2,
            physicsClientId=self.client,
        )

    def advance(self, duration_s: float) -> Measured:
        """Let that much time pass, in whole substeps; return where the car is then."""
        left = round(duration_s / SUBSTEP_S)
        while left > 0:
            substeps = min(left, SUBSTEPS)
            self._set_substeps(substeps)
            self._push(substeps * SUBSTEP_S)
            pybullet.stepSimulation(self.client)
            self.measured = self._measure()
            left -= substeps
        return self.measured

    def _set_substeps(self, substeps: int) -> None:
        """Have each call of PyBullet take so many substeps."""
        if substeps != self._substeps:
            self._substeps = substeps
            pybullet.setPhysicsEngineParameter(
                fixedTimeStep=substeps * SUBSTEP_S, numSubSteps=substeps, physicsClientId=self.client
            )

    def _push(self, duration_s: float) -> None:
        """Drive or brake throughout PyBullet's next step, which lasts that long, to be as fast as told at its end."""
        wanted_mps2 = (self._target_mps - self.measured.speed_mps) / duration_s
        force_n = self.spec.mass_kg * min(max(wanted_mps2, -self._braking_mps2), self._acceleration_mps2)
        pybullet.applyExternalForce(self.body, -1, [force_n, 0.0, 0.0], self._road, pybullet.LINK_FRAME, self.client)

    def _measure(self) -> Measured:
        (x, y, _), (_, _, qz, qw) = pybullet.getBasePositionAndOrientation(self.body, self.client)
        (vx, vy, _), (_, _, yaw_rate) = pybullet.getBaseVelocity(self.body, self.client)
        left, right = pybullet.getJointStates(self.body, HINGES, self.client)
        yaw = 2 * math.atan2(qz, qw)
        speed = vx * math.cos(yaw) + vy * math.sin(yaw)
        steering = steering_between(left[0], right[0], self.spec.wheelbase_m, self.spec.track_m)
        return Measured(x, y, yaw, speed, steering, yaw_rate)


def lay_ground(client: int) -> int:
    """Give PyBullet an endless plane to drive on, gravity, and the solver's settings that the cars are tested with.

    Returns the plane's body.
    """
    pybullet.setGravity(0, 0, -GRAVITY_MPS2, client)
    pybullet.setPhysicsEngineParameter(
        numSolverIterations=10,
        enableConeFriction=0,  # with it gentle turns are 5 % too wide
        solverResidualThreshold=1e-12,  # impulses of light cars are small
        contactBreakingThreshold=0.001,  # m; and so are their wheels
        physicsClientId=client,
    )
    plane = pybullet.createCollisionShape(pybullet.GEOM_PLANE, physicsClientId=client)
    ground = pybullet.createMultiBody(0, plane, physicsClientId=client)
    pybullet.changeDynamics(ground, -1, lateralFriction=1.0, physicsClientId=client)
    pybullet.setCollisionFilterGroupMask(ground, -1, GROUND_GROUP, CAR_GROUP, client)
    return ground


def ackermann(steering_rad: float, wheelbase_m: float, track_m: float) -> tuple[float, float]:
    """Return the angles in rad at which the left and the right front wheel turn about one centre.

    Ackermann's condition: cot δ_l = cot δ − t/2L and cot δ_r = cot δ + t/2L; δ is the bicycle model's angle.
    """
    tan = math.tan(steering_rad)
    lean = tan * track_m / 2 / wheelbase_m
    return math.atan(tan / (1 - lean)), math.atan(tan / (1 + lean))


def steering_between(left_rad: float, right_rad: float, wheelbase_m: float, track_m: float) -> float:
    """Return the bicycle model's angle in rad, the mean of what the two wheels tell by Ackermann's condition."""
    half = track_m / 2 / wheelbase_m
    left, right = math.tan(left_rad), math.tan(right_rad)
    return math.atan((left / (1 + left * half) + right / (1 - right * half)) / 2)


def _build(client: int, spec: VehicleSpec) -> int:
    """Make the body; what respec sets is still missing."""
    x, y, radius = spec.wheelbase_m / 2, spec.track_m / 2, spec.wheel_radius_m
    bottom, top = -radius / 2, spec.height_m - radius  # of the chassis, above the axles
    box = [spec.length_m / 2, spec.width_m / 2, (top - bottom) / 2]
    middle = [0, 0, (top + bottom) / 2]
    paint = pybullet.createVisualShape(
        pybullet.GEOM_BOX,
        halfExtents=box,
        visualFramePosition=middle,
        rgbaColor=[0.8, 0.1, 0.1, 1],
        physicsClientId=client,
    )
    wheel = pybullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=radius, physicsClientId=client)
    chassis = pybullet.createCollisionShapeArray(  # with the rear wheels: fewer parts, quicker steps
        shapeTypes=[pybullet.GEOM_BOX, pybullet.GEOM_SPHERE, pybullet.GEOM_SPHERE],
        halfExtents=[box, [0, 0, 0], [0, 0, 0]],
        radii=[0, radius, radius],
        collisionFramePositions=[middle, [-x, y, 0], [-x, -y, 0]],
        physicsClientId=client,
    )
    upright, straight = [0, 0, 1], [0, 0, 0, 1]
    body = pybullet.createMultiBody(
        baseMass=1,
        baseCollisionShapeIndex=chassis,
        baseVisualShapeIndex=paint,
        baseInertialFramePosition=[0, 0, CENTRE_OF_MASS * radius],
        linkMasses=[1] * 2,
        linkCollisionShapeIndices=[wheel] * 2,
        linkVisualShapeIndices=[-1] * 2,
        linkPositions=[[x, y, 0], [x, -y, 0]],
        linkOrientations=[straight] * 2,
        linkInertialFramePositions=[[0, 0, 0]] * 2,
        linkInertialFrameOrientations=[straight] * 2,
        linkParentIndices=[0] * 2,
        linkJointTypes=[pybullet.JOINT_REVOLUTE] * 2,
        linkJointAxis=[upright] * 2,
        physicsClientId=client,
    )
    pybullet.changeDynamics(body, -1, linearDamping=0, angularDamping=0, physicsClientId=client)
    pybullet.setCollisionFilterGroupMask(body, -1, CAR_GROUP, GROUND_GROUP | OBSTACLE_GROUP, client)
    for hinge in HINGES:
        pybullet.setCollisionFilterGroupMask(body, hinge, CAR_GROUP, GROUND_GROUP, client)
    return body


def _masses(spec: VehicleSpec) -> list[tuple[float, list[float]]]:
    """Mass in kg and inertia in kg m² about the main axes of the chassis, a box, and of the front wheels."""
    wheel_kg = WHEEL_MASS * spec.mass_kg
    chassis_kg = spec.mass_kg - 2 * wheel_kg
    a, b, c = spec.length_m**2, spec.width_m**2, spec.height_m**2
    box = [chassis_kg / 12 * (b + c), chassis_kg / 12 * (a + c), chassis_kg / 12 * (a + b)]
    wheel = (wheel_kg, [wheel_kg * spec.wheel_radius_m**2] * 3)
    return [(chassis_kg, box), wheel, wheel]
