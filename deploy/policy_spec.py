"""What a policy was trained for: the facts that travel with it from training to the car."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from deploy.vehicles import VehicleSpec

Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]

MUST_MATCH = ("image_height", "image_width", "top_speed_mps", "max_steering_rad", "max_steering_rate_radps")
RELIED_UPON = (*MUST_MATCH, "period_s", "history")  # by a car under way: its camera, motors, clock and state vector
TOLERANCE = 1e-3  # relative; a car's data sheet has three digits


class PolicyError(Exception):
    """A policy file is missing or unusable, or does not fit the vehicle."""

    exit_code = 2


class PolicySpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stored as JSON in the ONNX metadata under "lapwing"; told to every client that says hello."""

    format: Literal[1] = 1
    lapwing: str  # version of Lapwing that exported the policy
    run: str  # name of the training run
    image_height: Count  # pixels
    image_width: Count  # pixels
    period_s: Positive  # control period the policy was trained at
    top_speed_mps: Positive  # speed at set-point +1
    max_steering_rad: Positive  # angle of the front wheels at steering +1
    max_steering_rate_radps: Positive
    history: Annotated[int, Meta(ge=0)]  # executed actions in the state vector
    precision: Literal["float32", "int8", "float16"] = "float32"  # in which most of the graph computes
    original: str | None = None  # id of the float32 policy of which this is a less exact one
    action: str = "steering and speed set-point in [-1, 1]: left +1, right -1; stand still -1, top speed +1"

    @property
    def state_size(self) -> int:
        """Length of the state vector, see `deploy.observation.StateVector`."""
        return 2 + 2 * self.history

    @property
    def vehicle(self) -> VehicleSpec:
        """What it was trained for."""
        return VehicleSpec(**{field: getattr(self, field) for field in MUST_MATCH})

    def check(self, vehicle: VehicleSpec) -> None:
        """Raise PolicyError naming the field unless the policy was trained for such a vehicle."""
        for field in MUST_MATCH:
            trained, found = getattr(self, field), getattr(vehicle, field)
            if abs(trained - found) > TOLERANCE * trained:
                raise PolicyError(
                    f"policy of run {self.run} does not fit the vehicle: "
                    f"{field} is {found:g} on the vehicle, the policy expects {trained:g}"
                )

    def check_successor(self, successor: "PolicySpec") -> None:
        """Raise PolicyError naming the field unless a car that drives by this policy can go on by that one."""
        for field in RELIED_UPON:
            now, then = getattr(self, field), getattr(successor, field)
            if abs(now - then) > TOLERANCE * now:
                raise PolicyError(
                    f"policy of run {successor.run} cannot take over from that of run {self.run}: "
                    f"{field} is {then:g}, expected {now:g}"
                )
