"""The reference camera: PyBullet's own renderer looks at the same surface, laid out as a textured mesh."""

import math
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pybullet

from sim.renderers.planar import FAR_M, ground_points, sky
from sim.spec import CameraSpec
from sim.surface import GRASS, PIXELS_PER_M, Surface

NEAR_M = 0.05
CELL_M = 4.0  # of the mesh: small cells keep the software rasteriser's perspective exact near the camera


class BulletRenderer:
    """Renders what a camera on the car sees of a surface, in 2-4 ms with PyBullet's TinyRenderer.

    It has a PyBullet of its own: only that gives a texture's memory back, and it keeps the car's body out of
    the picture.
    """

    def __init__(self, surface: Surface, camera: CameraSpec) -> None:
        self.camera = camera
        self.client = pybullet.connect(pybullet.DIRECT)
        _lay_meadow(self.client)
        _lay_surface(surface, self.client)
        self._projection = _project(camera)
        self._sky = sky(camera)
        self._too_far = (ground_points(camera)[1] > FAR_M).reshape(self._sky.shape[:2])

    def render(self, pose: tuple[float, float, float]) -> np.ndarray:
        """Return the picture from pose (x_m, y_m, yaw_rad), (height, width, 3) uint8 RGB."""
        camera = self.camera
        _, _, rgba, _, segmentation = pybullet.getCameraImage(
            camera.width_px,
            camera.height_px,
            self._view(pose),
            self._projection,
            shadow=0,
            lightAmbientCoeff=1.0,
            lightDiffuseCoeff=0.0,
            lightSpecularCoeff=0.0,
            renderer=pybullet.ER_TINY_RENDERER,
            physicsClientId=self.client,
        )
        image = np.reshape(rgba, (camera.height_px, camera.width_px, 4))[..., :3].astype(np.uint8)
        nothing = np.reshape(segmentation, image.shape[:2]) < 0
        return np.where((nothing | self._too_far)[..., None], self._sky, image)

    def _view(self, pose: tuple[float, float, float]) -> list[float]:
        x, y, yaw = pose
        camera = self.camera
        eye = [x + camera.x_m * math.cos(yaw), y + camera.x_m * math.sin(yaw), camera.height_m]
        level, down = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
        target = [eye[0] + level * math.cos(yaw), eye[1] + level * math.sin(yaw), eye[2] - down]
        return pybullet.computeViewMatrix(eye, target, [0, 0, 1])

    def close(self) -> None:
        """Free PyBullet."""
        pybullet.disconnect(self.client)


def _project(camera: CameraSpec) -> list[float]:
    """OpenGL's projection; TinyRenderer looks through the lower left corner of a pixel, so shift it to the centre."""
    right, up = (
        [(side * pixels / 2 + 0.5) / camera.focal_px * NEAR_M for side in (-1, 1)]
        for pixels in (camera.width_px, camera.height_px)
    )
    return pybullet.computeProjectionMatrix(*right, *up, NEAR_M, FAR_M)


def _lay_meadow(client: int) -> None:
    """Grass beyond the surface and a little below it."""
    meadow = pybullet.createVisualShape(
        pybullet.GEOM_BOX,
        halfExtents=[500, 500, 0.01],
        visualFramePosition=[0, 0, -0.05],
        rgbaColor=[channel / 255 for channel in GRASS] + [1],
        physicsClientId=client,
    )
    pybullet.createMultiBody(0, baseVisualShapeIndex=meadow, physicsClientId=client)


def _lay_surface(surface: Surface, client: int) -> None:
    """Cover the ground with the surface."""
    height, width = surface.image.shape[:2]
    columns, rows = math.ceil(width / PIXELS_PER_M / CELL_M), math.ceil(height / PIXELS_PER_M / CELL_M)
    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1)))
    x = surface.origin_m[0] + u * width / PIXELS_PER_M
    y = surface.origin_m[1] + v * height / PIXELS_PER_M
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    a, b, c, d = corner, corner + 1, corner + columns + 2, corner + columns + 1
    shape = pybullet.createVisualShape(
        pybullet.GEOM_MESH,
        vertices=np.stack([x, y, np.zeros_like(x)], axis=1).tolist(),
        indices=np.stack([a, b, c, a, c, d], axis=1).ravel().tolist(),
        uvs=np.stack([u, 1 - v], axis=1).tolist(),
        normals=[[0, 0, 1]] * len(x),
        physicsClientId=client,
    )
    body = pybullet.createMultiBody(0, baseVisualShapeIndex=shape, physicsClientId=client)
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "surface.png")
        cv2.imwrite(picture, surface.image[..., ::-1])
        texture = pybullet.loadTexture(picture, physicsClientId=client)
    pybullet.changeVisualShape(body, -1, textureUniqueId=texture, physicsClientId=client)
