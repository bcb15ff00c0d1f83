"""How fast the simulator is, against its peers, and how like PyBullet's picture its own is.

    python -m benchmarks.simulation [--json]

Everything runs on one thread of one core, by turns in one process, so that a busy machine slows all alike; the
figures are medians of the rounds, the ratios medians of each round's ratio. Peers: Gymnasium's CarRacing-v3
(96×96 camera), and this very environment with PyBullet's TinyRenderer. Needs the `bench` extra.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import gymnasium
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.likeness import ssim
from sim.look import Look
from sim.renderers.bullet import BulletRenderer
from sim.renderers.planar import PlanarRenderer
from sim.routes import make_road
from sim.scene import HELD_OUT
from sim.spec import CONTROL_PERIOD_S, CameraSpec
from sim.surface import draw_surface
from sim.world import World

ID = "sim:LaneFollowing-v0"
CARS = 16


@dataclass(frozen=True)
class Config:
    """Measure the simulator against its peers."""

    json: bool = False  # print one JSON object as the last line
    rounds: int = 9  # that everything is measured; the median counts
    steps: int = 400  # of an environment in a round
    poses: int = 200  # on which the two renderers are compared, on 20 roads


class Lap:
    """Drives an environment on and on; `seconds(steps)` is what that many steps took, resets included."""

    def __init__(self, env: gymnasium.Env, driver: Callable[[dict], np.ndarray]) -> None:
        self.env, self.driver = env, driver
        _, self.info = env.reset(seed=0)

    def seconds(self, steps: int) -> float:
        env, driver, info = self.env, self.driver, self.info
        start = time.perf_counter()
        for _ in range(steps):
            _, _, terminated, truncated, info = env.step(driver(info))
            if terminated or truncated:
                _, info = env.reset()
        self.info = info
        return time.perf_counter() - start


def keep_lane(info: dict[str, Any]) -> np.ndarray:
    """Steer the city car back to the middle of its lane, at half speed."""
    steering = 3.2 * info["curvature_1pm"] - 0.5 * info["lateral_offset_m"] - 1.5 * info["heading_error_rad"]
    return np.array([max(-1.0, min(1.0, steering)), 0.0], np.float32)


def race(_: dict[str, Any]) -> np.ndarray:
    """Roll along; CarRacing tells nobody where its lane is."""
    return np.array([0.0, 0.05, 0.0], np.float32)


def drive_many(env: gymnasium.vector.VectorEnv, steps: int) -> float:
    """The seconds that `steps` steps of all cars together took."""
    _, infos = env.reset(seed=0)
    start = time.perf_counter()
    for _ in range(steps // CARS):
        steering = 3.2 * infos["curvature_1pm"] - 0.5 * infos["lateral_offset_m"] - 1.5 * infos["heading_error_rad"]
        actions = np.stack([np.clip(steering, -1, 1), np.zeros(CARS)], axis=1).astype(np.float32)
        *_, infos = env.step(actions)
    return time.perf_counter() - start


def speeds(config: Config) -> dict[str, float]:
    """Steps per second of everybody, and how many times as fast as the peers this is."""
    ours = Lap(gymnasium.make(ID), keep_lane)
    large = Lap(gymnasium.make(ID, image_size=(96, 96)), keep_lane)
    tiny = Lap(gymnasium.make(ID, renderer="bullet"), keep_lane)
    racing = Lap(gymnasium.make("CarRacing-v3"), race)
    many = gymnasium.make_vec(ID, num_envs=CARS)
    few = max(config.steps // 10, 1)
    rounds = np.array(
        [
            [
                config.steps / ours.seconds(config.steps),
                config.steps / large.seconds(config.steps),
                config.steps // CARS * CARS / drive_many(many, config.steps),
                few / tiny.seconds(few),
                few / racing.seconds(few),
            ]
            for _ in range(config.rounds)
        ]
    )
    for env in (ours.env, large.env, tiny.env, racing.env, many):
        env.close()
    single, large_single, vec, slow, box2d = np.median(rounds, axis=0)
    return {
        "single_steps_per_s": single,
        "single_96x96_steps_per_s": large_single,
        f"vec{CARS}_car_steps_per_s": vec,
        "car_racing_steps_per_s": box2d,
        "tiny_renderer_steps_per_s": slow,
        "x_car_racing": np.median(rounds[:, 0] / rounds[:, 4]),
        "x_car_racing_96x96": np.median(rounds[:, 1] / rounds[:, 4]),
        "x_tiny_renderer": np.median(rounds[:, 0] / rounds[:, 3]),
    }


def micros(run: Callable[[int], object], config: Config, calls: int = 200) -> float:
    """Median over the rounds of the microseconds that one call takes."""

    def once() -> float:
        start = time.perf_counter()
        for i in range(calls):
            run(i)
        return (time.perf_counter() - start) / calls * 1e6

    return float(np.median([once() for _ in range(config.rounds)]))


def parts(config: Config) -> dict[str, float]:
    """Where the time of a step goes, in microseconds, and of a reset to a new road, in milliseconds."""
    env = gymnasium.make(ID)
    _, _info = env.reset(seed=0)
    world: World = env.unwrapped.world  # type: ignore[attr-defined]
    road = world.road
    poses = [road.pose(distance_m) for distance_m in np.linspace(0, road.length_m, 200)]
    action = np.array([0.0, 0.0], np.float32)
    cameras = {"64": CameraSpec(), "160x120": CameraSpec(160, 120)}
    renderers = {size: PlanarRenderer(world.surface, camera) for size, camera in cameras.items()}
    frames = {f"frame_{s}_us": micros(lambda i, r=r: r.render(poses[i]), config) for s, r in renderers.items()}
    world.command(np.array([0.0, 0.0], np.float32))
    physics = micros(lambda _: world.advance(CONTROL_PERIOD_S), config, calls=50)
    command = micros(lambda _: world.command(action), config)
    env.close()
    fresh = gymnasium.make(ID, roads="held_in")
    fresh.reset(seed=0)
    reset = micros(lambda _: fresh.reset(), config, calls=10)
    fresh.close()
    return {**frames, "physics_us": physics, "command_us": command, "reset_ms": reset / 1e3}


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
    """Print what was found as a table, and where the time of a step goes."""
    table = Table("figure", "measured", title="LaneFollowing-v0 on one core")
    for name, value in found.items():
        table.add_row(name, f"{value:,.3f}" if value < 1 else f"{value:,.1f}")
    step_us = 1e6 / found["single_steps_per_s"]
    rest_us = step_us - found["physics_us"] - found["frame_64_us"]
    console.print(table)
    console.print(
        f"a step of {step_us:.0f} µs: physics {found['physics_us'] / step_us:.0%}, "
        f"rendering {found['frame_64_us'] / step_us:.0%}, Python {rest_us / step_us:.0%}"
    )


def main(config: Config) -> None:
    """Measure, print, and say where the time goes."""
    cv2.setNumThreads(1)
    found = {**speeds(config), **parts(config), **likeness(config)}
    show(found, Console())
    if config.json:
        print(json.dumps({name: round(float(value), 3) for name, value in found.items()}))  # noqa: T201


if __name__ == "__main__":
    main(tyro.cli(Config))
