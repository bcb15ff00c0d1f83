"""`lapwing play`: drive by keyboard, in real time and by the rules that the agent learns under."""

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from rich.console import Console

from sim.lane_following import LaneFollowing
from sim.spec import CONTROL_PERIOD_S
from sim.task import ROADS
from sim.window import Keys, Window

LEFT, RIGHT, UP, DOWN = {"left", "a"}, {"right", "d"}, {"up", "w"}, {"down", "s"}
BRAKE, RESTART, NEXT, QUIT = {"space"}, {"r"}, {"n"}, {"escape", "q"}
HELP = "arrows drive, space brakes, R restarts, N takes the next road, Q quits"
WINDOW_PX = 1056, 662
PAUSE_S = 1.0  # in which one reads what has happened
PAST_M = 8.0  # so much farther stands a car that has hit something, at full size
STANDING = 0.01  # of top speed, below which a car that is to stand does so


@dataclass(frozen=True)
class PlayConfig:
    """What to drive, and where."""

    scenario: str = "paper"  # worlds to drive in: paper, country, circuit or wild
    vehicle: str = "city_car"  # to drive: city_car, racecar or donkey
    roads: Literal["fixed", "held_in", "held_out"] = "fixed"  # fixed: road_seed and on; held_in, held_out: drawn roads
    road_seed: int = 0  # of the first road where roads are fixed; N takes the next
    track: str = ""  # CSV centreline, or a folder of them, to drive on instead of drawn roads
    traffic: int = 0  # boxes, cones and parked cars to pass, of each so many in 250 m
    seed: int = 0  # of drawn roads, and of light, weather and obstacles where the scenario varies them
    record: Path | None = None  # folder of a dataset to add the drive to


class Recorder(Protocol):
    """Keeps what is driven; the command line hands one in."""

    def start(self, image: np.ndarray, state: np.ndarray, info: dict[str, Any], seed: int) -> None:
        """An episode begins."""
        ...

    def step(
        self, action: np.ndarray, reward: float, image: np.ndarray, state: np.ndarray, info: dict, terminated: bool
    ) -> None:
        """It goes on, and with `terminated` ends."""
        ...


@dataclass
class Keyboard:
    """Makes of the keys held a steering that springs back and a speed set-point that stays, both in [-1, 1]."""

    steering: float = 0.0  # left positive, ±1 = full lock
    speed: float = -1.0  # -1 = stand still, 1 = top speed

    steering_per_s = 1.2
    spring_per_s = 1.8
    speed_per_s = 1.0

    def read(self, held: Collection[str], duration_s: float) -> np.ndarray:
        """Return the action after keys have been held for that long, (2,) float32; braking is at once."""
        turn, push = _pull(held, LEFT, RIGHT), _pull(held, UP, DOWN)
        if turn * self.steering <= 0:  # let go or steered the other way
            self.steering = math.copysign(max(abs(self.steering) - self.spring_per_s * duration_s, 0.0), self.steering)
        self.steering = _limit(self.steering + turn * self.steering_per_s * duration_s)
        self.speed = -1.0 if BRAKE & set(held) else _limit(self.speed + push * self.speed_per_s * duration_s)
        return np.array([self.steering, self.speed], np.float32)


def _pull(held: Collection[str], more: set[str], less: set[str]) -> int:
    return bool(more & set(held)) - bool(less & set(held))


def _limit(value: float) -> float:
    return min(max(value, -1.0), 1.0)


def play(
    config: PlayConfig, console: Console, fps: float = 1 / CONTROL_PERIOD_S, recorder: Recorder | None = None
) -> None:
    """Drive until the window is closed, then print what came of it; fps = 0 does not wait for the clock.

    Raises WindowError where no window can be opened, ScenarioError for what cannot be driven.
    """
    with closing(Drive(config, recorder)) as drive, closing(Window(WINDOW_PX, "Lapwing", fps)) as window:
        while window.open and not window.keys.pressed & QUIT:
            drive.tick(window.keys)
            window.show(drive.picture, drive.readings, drive.banner)
    console.print(drive.summary)


class Drive:
    """The car under the keyboard, and what came of it so far; whoever made it closes it.

    The world waits while the car is to stand and does. After a disengagement the car is put back where it left
    the lane, in the same scene, after a pause; at the end of the route it begins anew, in another.
    `info` is the environment's of this moment, `banner` a line for whoever drives.
    """

    def __init__(self, config: PlayConfig, recorder: Recorder | None = None) -> None:
        self._config, self._road_seeds, self._seed = config, _road_seeds(config), config.seed
        self._recorder = recorder
        self.driven_m, self.disengagements = 0.0, 0
        self._take_road()

    def tick(self, keys: Keys) -> None:
        """Live through one control period."""
        if keys.pressed & NEXT:
            self.close()
            self._seed += 1
            self._take_road()
        elif keys.pressed & RESTART:
            self._start()
        elif self._pause:
            self._pause -= 1
            if self._pause == 0:
                self._go_on()
        else:
            self._drive(keys.held)

    def _take_road(self) -> None:
        config, self.road_seed = self._config, next(self._road_seeds)
        self.env = LaneFollowing(
            render_mode="rgb_array",
            scenario=config.scenario,
            vehicle=config.vehicle,
            road_seed=self.road_seed,
            **self._asked_for(),
        )
        self._start()

    def _asked_for(self) -> dict[str, Any]:
        """What the scenario does not have by itself."""
        track = {"track": self._config.track} if self._config.track else {}
        traffic = dict.fromkeys(("box", "cone", "parked car"), self._config.traffic)
        return track | ({"obstacles": traffic} if self._config.traffic else {})

    def _start(self) -> None:
        """Stand at the start of the route and wait to be driven."""
        self.keyboard = Keyboard()
        self._stand(0.0)

    def _start_another(self) -> None:
        self._seed += 1
        self._start()

    def _stand(self, distance_m: float) -> None:
        self._obs, self.info = self.env.reset(seed=self._seed, options={"distance_m": distance_m})
        if self._recorder:
            self._recorder.start(self._obs["image"], self._obs["state"], self.info, self._seed)
        self.keyboard.steering, self._pause = 0.0, 0
        self.banner = HELP if self.keyboard.speed == -1 else ""

    def _drive(self, held: Collection[str]) -> None:
        action = self.keyboard.read(held, CONTROL_PERIOD_S)
        if action[1] == -1 and self.speed_mps < STANDING * self.env.vehicle.top_speed_mps:
            self.banner = HELP
            return
        before_m, self.banner = self.info["distance_m"], ""
        self._obs, reward, terminated, _, self.info = self.env.step(action)
        if self._recorder:
            self._recorder.step(action, reward, self._obs["image"], self._obs["state"], self.info, terminated)
        here_m, cause = self.info["distance_m"], self.info["disengagement"]
        self.driven_m += here_m - before_m
        if terminated:
            self.disengagements += 1
            again_m = here_m + (PAST_M * self.env.road.unit_m if cause == "collision" else 0.0)
            self._wait(f"{cause}: the car is put back", partial(self._stand, again_m))
        elif self.info["finished"]:
            self._wait("the end of the route: once more from its start", self._start_another)

    def _wait(self, banner: str, go_on: Callable[[], None]) -> None:
        self.banner, self._go_on, self._pause = banner, go_on, round(PAUSE_S / CONTROL_PERIOD_S)

    @property
    def speed_mps(self) -> float:
        """What the car's own speedometer says."""
        return float(self._obs["state"][0])

    @property
    def picture(self) -> np.ndarray:
        """The car from behind, its camera's image and the map, (h, w, 3) uint8 RGB."""
        picture = self.env.render()
        assert picture is not None  # the environment renders to arrays
        return picture

    @property
    def readings(self) -> list[tuple[str, str]]:
        """(value, label) pairs for the bar below the picture."""
        asked_mps = (self.keyboard.speed + 1) / 2 * self.env.vehicle.top_speed_mps
        steering_deg, offset_m = math.degrees(self._obs["state"][1]), self.info["lateral_offset_m"]
        each_m = self.driven_m / max(self.disengagements, 1)
        return [
            (f"{3.6 * self.speed_mps:.1f} km/h", f"of {3.6 * asked_mps:.1f} asked"),
            (f"{abs(steering_deg):.0f}° {_side(steering_deg)}", "steering"),
            (f"{abs(offset_m):.2f} m {_side(offset_m)}", "off the centre"),
            (f"{self.info['distance_m']:.0f} / {self.env.road.length_m:.0f} m", f"along road {self.road_seed}"),
            (f"{self.disengagements} × {each_m:.1f} m" if self.disengagements else "none", "disengagements"),
        ]

    @property
    def summary(self) -> str:
        """One line on the whole drive."""
        figures = f"{self.driven_m:.1f} m driven, disengagements: {self.disengagements}"
        if self.disengagements == 0:
            return figures
        return f"{figures}, metres per disengagement: {self.driven_m / self.disengagements:.1f}"

    def close(self) -> None:
        """Free the world; closing twice is harmless."""
        self.env.close()


def _side(left: float) -> str:
    return "left" if left >= 0 else "right"


def _road_seeds(config: PlayConfig) -> Iterator[int]:
    """The seed of one road after another."""
    drawn_from = ROADS[config.roads]
    if drawn_from is None:
        return count(config.road_seed)
    rng = np.random.default_rng(config.seed)
    return (int(rng.integers(drawn_from.start, drawn_from.stop)) for _ in count())
