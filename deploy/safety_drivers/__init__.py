"""Safety drivers: who watches a car that learns, says what it does next, takes over, and puts it back.

A new way to say so (a gamepad, a brake pedal) is one new file and one line in `SAFETY_DRIVERS`.
"""

from dataclasses import dataclass
from inspect import signature
from pkgutil import resolve_name
from typing import Annotated, Literal, Protocol

from msgspec import Meta

from deploy.dashboard.link import Link
from deploy.vehicles import Frame, Movable, Vehicle

# Name on the command line -> class, called with the vehicle, a SafetyConfig and, if it has a keyword `link`, with the
# line to the dashboard, if there is one.
SAFETY_DRIVERS = {
    "keyboard": "deploy.safety_drivers.keyboard:KeyboardDriver",
    "scripted": "deploy.safety_drivers.scripted:ScriptedDriver",
    "dashboard": "deploy.safety_drivers.dashboard:DashboardDriver",
}

Task = Literal["train", "test"]
Order = Literal["train", "test", "undo", "done", "pause"]
Request = Order | Literal["takeover", "finished", "in place"]
Phase = Literal["standing", "placing", "waiting", "driving", "done"]
NotNegative = Annotated[float, Meta(ge=0)]


class SafetyDriverError(Exception):
    """That safety driver cannot watch this car."""

    exit_code = 2


@dataclass(frozen=True)
class SafetyConfig:
    """The person beside the car; all but the first two are of the scripted one."""

    driver: Literal["keyboard", "scripted", "dashboard"] = "keyboard"  # who watches
    put_back_s: NotNegative = 1.0  # that putting a simulated car back takes; Kendall 2018 has about 25 on the road
    reaction_s: NotNegative = 0.3  # from danger to taking over; of one who waits for it with a hand on the wheel
    margin_m: NotNegative = 0.0  # from a wheel to the edge of the lane, less is danger
    patience_s: NotNegative = 5.0  # without getting 0.25 m farther until it takes over; as in the simulator
    script: tuple[Order, ...] = ("train", "test")  # what is asked for, one after the other; in the end comes done
    rounds: Annotated[int, Meta(ge=0)] = 25  # times through the script
    until_passed: bool = True  # ask for done as soon as a test has driven the whole route


class SafetyDriver(Protocol):
    """Whoever is responsible for the car."""

    hint: str  # how they say what they want, for the terminal

    def watch(self, frame: Frame, phase: Phase, task: Task) -> Request | None:
        """What they say in this control period; never waits.

        phase: "standing" until an order comes, "placing" until the car is where the task begins, "waiting" until the
        learner is ready, then "driving"; task: the one under way, the one asked for or the last.
        """
        ...

    def close(self) -> None:
        """Let go of keyboard or stick."""
        ...


def open_driver(car: Vehicle, config: SafetyConfig, link: Link | None = None) -> SafetyDriver:
    """Who watches that car; link: to the dashboard. Raises SafetyDriverError."""
    driver = resolve_name(SAFETY_DRIVERS[config.driver])
    told = {"link": link} if "link" in signature(driver).parameters else {}
    return driver(car, config, **told)


class Helper:
    """Puts a simulated car where a task begins, as people do with a real one.

    A test begins at the start of the route, training where the car ended when it was trained last, so that all of the
    route is learned from the first episodes on.
    """

    def __init__(self, car: Movable, takes_s: float) -> None:
        self._car, self._takes_s = car, takes_s
        self._trained_to_m = 0.0
        self._since_s: float | None = None

    def see(self, frame: Frame, phase: Phase, task: Task) -> bool:
        """Note where the car is; True when it has just been put in place."""
        if phase == "driving" and task == "train" and frame.truth:
            self._trained_to_m = 0.0 if frame.truth.finished else max(frame.truth.distance_m, 0.0)
        if phase != "placing":
            self._since_s = None
            return False
        self._since_s = frame.captured_at_s if self._since_s is None else self._since_s
        if frame.captured_at_s - self._since_s < self._takes_s:
            return False
        self._car.put_back(self._trained_to_m if task == "train" else 0.0)
        return True


def helper_for(car: Vehicle, config: SafetyConfig) -> Helper | None:
    """Somebody to put a simulated car back; None for a real one."""
    return Helper(car, config.put_back_s) if isinstance(car, Movable) else None
