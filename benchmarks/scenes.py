"""Draws the pictures of docs/simulator.md: 48 random scenes, and the two renderers side by side.

python -m benchmarks.scenes [--out docs]
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import gymnasium
import numpy as np
import tyro

from benchmarks.likeness import ssim
from sim.look import Look
from sim.renderers.bullet import BulletRenderer
from sim.renderers.planar import PlanarRenderer
from sim.routes import make_road
from sim.scenario import SCENARIOS
from sim.scene import HELD_OUT
from sim.spec import CameraSpec
from sim.surface import draw_surface

ROWS, COLUMNS = 6, 8
SIZE = 120, 160  # of a picture: height, width
TRAFFIC = {"box": 3, "cone": 3, "parked car": 3, "lead vehicle": 1}
GAP_PX, SCALE = 4, 3


@dataclass(frozen=True)
class Config:
    """Draw the pictures of the simulator's page."""

    out: Path = Path("docs")  # folder to write scenes.png and renderers.png to
    seed: int = 0  # of the scenes


def scenes(seed: int) -> np.ndarray:
    """Random moments on random held-out roads, twelve of each scenario, half of them with traffic."""
    shown = []
    for number, name in enumerate(SCENARIOS):
        for traffic in ({}, TRAFFIC):
            env = gymnasium.make(
                "sim:LaneFollowing-v0",
                scenario=name,
                roads="held_out",
                random_start=True,
                image_size=SIZE,
                obstacles=traffic,
            )
            for i in range(ROWS):
                obs, _ = env.reset(seed=seed + 100 * number + i)
                for _ in range(10):  # so that what moves, blurs
                    obs, _, terminated, *_ = env.step(np.array([0.0, 0.0], np.float32))
                    if terminated:
                        obs, _ = env.reset()
                shown.append(obs["image"])
            env.close()
    return tiled(shown, COLUMNS)


def renderers() -> np.ndarray:
    """The same six places: planar above, PyBullet's TinyRenderer in the middle, their difference below."""
    camera, rows = CameraSpec(), ([], [], [])
    for seed in HELD_OUT[:6]:
        road = make_road(seed)
        surface = draw_surface(road, Look(seed=seed))
        reference = BulletRenderer(surface, camera)
        pose = road.pose(20.0 + 35 * (seed - HELD_OUT.start), 0.3)
        ours, theirs = PlanarRenderer(surface, camera).render(pose), reference.render(pose)
        reference.close()
        apart = np.abs(ours.astype(int) - theirs).astype(np.uint8)
        cv2.putText(apart, f"SSIM {ssim(ours, theirs):.3f}", (2, 9), cv2.FONT_HERSHEY_PLAIN, 0.6, (255, 255, 255))
        for row, picture in zip(rows, (ours, theirs, apart), strict=True):
            row.append(picture)
    big = [cv2.resize(p, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST) for row in rows for p in row]
    return tiled(big, 6)


def tiled(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Lay pictures of one size out in rows, a white gap between them."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + GAP_PX) - GAP_PX, columns * (width + GAP_PX) - GAP_PX, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * (height + GAP_PX), i % columns * (width + GAP_PX)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def main(config: Config) -> None:
    """Write both pictures."""
    config.out.mkdir(parents=True, exist_ok=True)
    for name, picture in (("scenes", scenes(config.seed)), ("renderers", renderers())):
        cv2.imwrite(str(config.out / f"{name}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main(tyro.cli(Config))
