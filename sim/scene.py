"""One world, drawn from a scenario: all that an episode is made of."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from sim.dynamics import Dynamics, draw_dynamics
from sim.effects import CAMERA_EFFECTS, SURFACE_EFFECTS
from sim.look import Look
from sim.obstacles import Obstacle, draw_obstacles
from sim.road import Road
from sim.routes import make_road
from sim.scenario import Scenario
from sim.spec import LaneSpec, VehicleSpec
from sim.tracks import LEAST_RADIUS_M, TrackError, list_tracks, load_track

HELD_IN = range(2**30)  # road seeds to train and tune on …
HELD_OUT = range(2**30, 2**31)  # … and those to judge on
ROOM_TO_TURN = 1.15  # times a car's tightest turn is a track's tightest bend at least


@dataclass(frozen=True)
class Scene:
    """A road, what it looks like, what stands on it, and the car as it is today."""

    road: Road
    look: Look
    vehicle: VehicleSpec
    dynamics: Dynamics = field(default_factory=Dynamics)
    obstacles: tuple[Obstacle, ...] = ()


def draw_road(scenario: Scenario, vehicle: VehicleSpec, road_seed: int) -> Road:
    """Draw a road for that vehicle; the same seed gives the same road. Raises RouteError or TrackError."""
    rng = np.random.default_rng([road_seed, 1])
    if scenario.track:
        tracks = _load_tracks(scenario.track, vehicle.scale, vehicle.least_radius_m, vehicle.track_m)
        return tracks[rng.integers(len(tracks))]
    lanes, width_m = int(rng.choice(scenario.lanes)), rng.uniform(*scenario.lane_width_m)
    lane = LaneSpec(width_m, lanes, scenario.min_radius_m)
    return make_road(road_seed, scenario.length_m, scenario.topology, lane, vehicle.scale)


@lru_cache(maxsize=4)  # a large track takes a quarter of a second
def _load_tracks(path: str, unit_m: float, car_radius_m: float, car_track_m: float) -> tuple[Road, ...]:
    """Read a file or all of a folder's, so large that the car can take every bend; each must hold the car."""
    files = list_tracks(Path(path)) if Path(path).is_dir() else [Path(path)]
    radius_m = max(LEAST_RADIUS_M, ROOM_TO_TURN * car_radius_m / unit_m)
    roads = [load_track(file, unit_m, radius_m) for file in files]
    for file, road in zip(files, roads, strict=True):
        least_m = float((road.left_m + road.right_m).min())
        if least_m <= car_track_m:
            raise TrackError(
                f"{file}: is {least_m:.2f} m wide at its narrowest when scaled to the car; "
                f"expected more than between its wheels, {car_track_m:.2f} m"
            )
    return tuple(roads)


def draw_scene(scenario: Scenario, vehicle: VehicleSpec, road: Road, rng: np.random.Generator) -> Scene:
    """Draw everything but the road; `vehicle` is the preset around which the car of the episode varies."""
    randomised, dynamics = draw_dynamics(scenario.dynamics, vehicle, rng)
    speed_mps = scenario.lead_speed * vehicle.top_speed_mps
    obstacles = draw_obstacles(road, scenario.obstacles, vehicle.width_m, speed_mps, rng)
    return Scene(road, _draw_look(scenario, road, rng), randomised, dynamics, obstacles)


def _draw_look(scenario: Scenario, road: Road, rng: np.random.Generator) -> Look:
    """Textures and details belong to the road unless effects vary with the episode."""

    def pick(names: tuple[str, ...]) -> str:
        return names[rng.integers(len(names))]

    strengths = {
        name: greatest * rng.uniform(0.2, 1.0)
        for name, greatest in scenario.effects.items()
        if greatest > 0 and rng.random() < scenario.effect_share
    }
    return Look(
        seed=int(rng.integers(2**31)) if scenario.effects else road.seed,
        pavement=pick(scenario.pavements),
        verge=pick(scenario.verges),
        left_line=pick(scenario.left_lines),
        right_line=pick(scenario.right_lines),
        lane_line=pick(scenario.lane_lines),
        left_paint=pick(scenario.paints),
        right_paint=pick(scenario.paints),
        lane_paint=pick(scenario.paints),
        sun_azimuth_rad=rng.uniform(-math.pi, math.pi) if scenario.effects else 0.0,
        surface={name: strengths[name] for name in SURFACE_EFFECTS if name in strengths},
        camera={name: strengths[name] for name in CAMERA_EFFECTS if name in strengths},
    )
