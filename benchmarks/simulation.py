"""How fast the simulator is, against its peers, and how like PyBullet's picture its own is.

    python -m benchmarks.simulation [--json]

Everything runs on one thread of one core, by turns in one process and in another order every round, so that a busy
machine slows all alike; the figures are medians of the rounds, the ratios medians of each round's ratio. Resets are
part of what is timed. Peers: Gymnasium's CarRacing-v3 (96×96 camera), and this very environment with PyBullet's
TinyRenderer, whose ribbon has facets of 1×2 m, and of 2×4 m, which is quicker and less exact. Needs the `bench` extra.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import gymnasium
import numpy as np
import pybullet
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.likeness import ssim
from sim.look import Look
from sim.renderers import bullet
from sim.renderers.bullet import BulletRenderer
from sim.renderers.planar import PlanarRenderer
from sim.routes import make_road
from sim.scene import HELD_OUT
from sim.spec import CameraSpec
from sim.surface import draw_surface
from sim.world import World

ID = "sim:LaneFollowing-v0"
CARS = 16
SPEED = 0.3  # set-point of our driver: half speed or less would run out of time


@dataclass(frozen=True)
class Config:
    """Measure the simulator against its peers."""

    json: bool = False  # print one JSON object as the last line
    rounds: int = 9  # that everything is measured; the median counts
    steps: int = 1600  # of an environment in a round, of the slow ones a tenth
    poses: int = 200  # on which the two renderers are compared, on 20 roads


Runner = Callable[[int], float]  # drives on for at least so many steps; returns steps per second


def lap(driver: Callable[[dict[str, Any]], np.ndarray], name: str, **options: Any) -> tuple[gymnasium.Env, Runner]:
    """An environment that drives on and on, resets included."""
    env = gymnasium.make(name, **options)
    _, info = env.reset(seed=0)

    def run(steps: int) -> float:
        nonlocal info
        start = time.perf_counter()
        for _ in range(steps):
            _, _, terminated, truncated, info = env.step(driver(info))
            if terminated or truncated:
                _, info = env.reset()
        return steps / (time.perf_counter() - start)

    return env, run


def laps(**options: Any) -> tuple[gymnasium.vector.VectorEnv, Runner]:
    """Many cars at once; a step of each of them counts."""
    envs = gymnasium.make_vec(ID, num_envs=CARS, **options)
    _, infos = envs.reset(seed=0)

    def run(steps: int) -> float:
        nonlocal infos
        start = time.perf_counter()
        for _ in range(-(-steps // CARS)):
            *_, infos = envs.step(keep_lanes(infos))
        return -(-steps // CARS) * CARS / (time.perf_counter() - start)

    return envs, run


def keep_lane(info: dict[str, Any]) -> np.ndarray:
    """Steer the city car back to the middle of its lane."""
    return np.array([max(-1.0, min(1.0, steering(info))), SPEED], np.float32)


def keep_lanes(infos: dict[str, Any]) -> np.ndarray:
    """The same of many cars, (n, 2)."""
    wanted = np.clip(steering(infos), -1, 1)
    return np.stack([wanted, np.full(CARS, SPEED)], axis=1).astype(np.float32)


def steering(info: dict[str, Any]) -> Any:
    """Follow the bend, and turn back to the middle and the heading of the lane; a number or an array of them."""
    return 3.2 * info["curvature_1pm"] - 0.5 * info["lateral_offset_m"] - 1.5 * info["heading_error_rad"]


def race(_: dict[str, Any]) -> np.ndarray:
    """Roll along; CarRacing tells nobody where its lane is."""
    return np.array([0.0, 0.05, 0.0], np.float32)


def speeds(config: Config) -> dict[str, float]:
    """Steps per second of everybody, and how many times as fast as the peers this is."""
    wild: dict[str, Any] = {"scenario": "wild", "roads": "held_in"}
    made = {
        "single": lap(keep_lane, ID),
        "single_96x96": lap(keep_lane, ID, image_size=(96, 96)),
        "single_wild": lap(keep_lane, ID, **wild),
        f"vec{CARS}_car": laps(),
        f"vec{CARS}_wild_car": laps(**wild),
        "tiny_renderer": lap(keep_lane, ID, renderer="bullet"),
        "tiny_renderer_coarse": coarse_lap(),
        "car_racing": lap(race, "CarRacing-v3"),
    }
    few = {"tiny_renderer", "tiny_renderer_coarse", "car_racing"}  # are slow
    rounds: dict[str, list[float]] = {name: [] for name in made}
    rng = np.random.default_rng(0)
    for _ in range(config.rounds):
        for name in rng.permutation(list(made)).tolist():
            rounds[name].append(made[name][1](config.steps // 10 if name in few else config.steps))
    for env, _ in made.values():
        env.close()
    per_s = {name: np.array(found) for name, found in rounds.items()}
    return {
        **{f"{name}_steps_per_s": float(np.median(found)) for name, found in per_s.items()},
        "x_car_racing": float(np.median(per_s["single"] / per_s["car_racing"])),
        "x_car_racing_96x96": float(np.median(per_s["single_96x96"] / per_s["car_racing"])),
        "x_tiny_renderer": float(np.median(per_s["single"] / per_s["tiny_renderer"])),
        "x_tiny_renderer_coarse": float(np.median(per_s["single"] / per_s["tiny_renderer_coarse"])),
    }


def coarse_lap() -> tuple[gymnasium.Env, Runner]:
    """The environment with PyBullet's renderer and a ribbon of larger facets."""
    fine = bullet.ALONG_M, bullet.ACROSS_M
    bullet.ALONG_M, bullet.ACROSS_M = 2.0, 4.0
    try:
        return lap(keep_lane, ID, renderer="bullet")
    finally:
        bullet.ALONG_M, bullet.ACROSS_M = fine


def micros(run: Callable[[int], object], config: Config, calls: int = 200) -> float:
    """Median over the rounds of the microseconds that one call takes."""
    return float(np.median([once(run, calls) for _ in range(config.rounds)]))


def once(run: Callable[[int], object], calls: int) -> float:
    """The microseconds that one of so many calls takes."""
    start = time.perf_counter()
    for i in range(calls):
        run(i)
    return (time.perf_counter() - start) / calls * 1e6


def parts(config: Config) -> dict[str, float]:
    """Frames and resets; and where the time of a step goes, its parts measured right after it."""
    env, run = lap(keep_lane, ID)
    world: World = env.unwrapped.world  # type: ignore[attr-defined]
    road = world.road
    poses = [road.pose(distance_m) for distance_m in np.linspace(0, road.length_m, 200)]
    cameras = {"64": CameraSpec(), "160x120": CameraSpec(160, 120)}
    renderers = {size: PlanarRenderer(world.surface, camera) for size, camera in cameras.items()}
    frames = {f"frame_{s}_us": micros(lambda i, r=r: r.render(poses[i]), config) for s, r in renderers.items()}
    shares = []
    for _ in range(config.rounds):
        step_us = 1e6 / run(config.steps)
        physics_us = once(lambda _: pybullet.stepSimulation(world.client), 20)  # the car rolls on for two seconds
        drawing_us = once(lambda i: renderers["64"].render(poses[i]), 200)
        shares.append((physics_us / step_us, drawing_us / step_us))
        env.reset()
    env.close()
    physics, drawing = np.median(shares, axis=0).tolist()
    fresh = gymnasium.make(ID, roads="held_in")
    fresh.reset(seed=0)
    reset_ms = micros(lambda _: fresh.reset(), config, calls=10) / 1e3
    fresh.close()
    return {
        **frames,
        "reset_ms": reset_ms,
        "share_physics": physics,
        "share_rendering": drawing,
        "share_python": 1 - physics - drawing,
    }


def likeness(config: Config) -> dict[str, float]:
    """The two renderers' pictures from random poses on held-out roads, compared."""
    rng, alike = np.random.default_rng(0), []
    for seed in HELD_OUT[: -(-config.poses // 10)]:
        road = make_road(seed)
        surface, camera = draw_surface(road, Look(seed=seed)), CameraSpec()
        fast, reference = PlanarRenderer(surface, camera), BulletRenderer(surface, camera)
        for _ in range(10):
            x, y, yaw = road.pose(rng.uniform(0, road.length_m), rng.uniform(-0.6, 0.6))
            pose = x, y, yaw + rng.uniform(-0.2, 0.2)
            alike.append(ssim(fast.render(pose), reference.render(pose)))
        reference.close()
    return {"ssim_mean": float(np.mean(alike)), "ssim_min": float(np.min(alike))}


def show(found: dict[str, float], console: Console) -> None:
    """Print what was found as a table."""
    table = Table("figure", "measured", title="LaneFollowing-v0 on one core")
    for name, value in found.items():
        table.add_row(name, f"{value:,.3f}" if value < 1 else f"{value:,.1f}")
    console.print(table)


def main(config: Config) -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    found = {**speeds(config), **parts(config), **likeness(config)}
    show(found, Console())
    if config.json:
        print(json.dumps({name: round(float(value), 3) for name, value in found.items()}))  # noqa: T201


if __name__ == "__main__":
    main(tyro.cli(Config))
