"""Where the pixels of a camera look: onto the ground before the car, or into the sky."""

import math

import numpy as np

from sim.spec import CameraSpec

FAR_M = 60.0  # depth beyond which the ground fades into the sky, at full size
SKY_TOP, SKY_HORIZON = (120, 165, 215), (205, 220, 232)


def ground_points(camera: CameraSpec) -> tuple[np.ndarray, np.ndarray]:
    """Where the ray through each pixel's centre meets the ground.

    Returns ((2, h*w) float64 metres before and left of the car's centre, (h*w,) metres of depth along the
    optical axis, infinite at and above the horizon).
    """
    right = (np.arange(camera.width_px) + 0.5 - camera.width_px / 2) / camera.focal_px
    down = (np.arange(camera.height_px) + 0.5 - camera.height_px / 2) / camera.focal_px
    right, down = (a.ravel() for a in np.meshgrid(right, down))
    cos, sin = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
    forward, falling = cos - sin * down, sin + cos * down
    with np.errstate(divide="ignore"):
        depth = np.where(falling > 0, camera.height_m / falling, np.inf)
    reach = np.where(np.isfinite(depth), depth, 0.0)
    ahead, left = reach * forward, -reach * right
    cos, sin = math.cos(camera.yaw_rad), math.sin(camera.yaw_rad)
    return np.stack([camera.x_m + ahead * cos - left * sin, ahead * sin + left * cos]), depth


def sky(camera: CameraSpec) -> np.ndarray:
    """A vertical gradient down to the horizon's haze, (h, w, 3) uint8."""
    horizon = camera.height_px / 2 - math.tan(camera.pitch_rad) * camera.focal_px
    blend = np.clip((np.arange(camera.height_px) + 0.5) / max(horizon, 1.0), 0, 1)[:, None, None]
    colour = (1 - blend) * np.array(SKY_TOP) + blend * np.array(SKY_HORIZON)
    return np.broadcast_to(colour, (camera.height_px, camera.width_px, 3)).astype(np.uint8)


def elevations(camera: CameraSpec) -> np.ndarray:
    """How far above the horizon each pixel's middle looks, (h, w) radians, negative onto the ground."""
    right = (np.arange(camera.width_px) + 0.5 - camera.width_px / 2) / camera.focal_px
    down = (np.arange(camera.height_px)[:, None] + 0.5 - camera.height_px / 2) / camera.focal_px
    cos, sin = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
    return -np.arctan2(sin + cos * down, np.hypot(cos - sin * down, right))
