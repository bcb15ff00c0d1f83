"""The reference camera: PyBullet's own renderer looks at the same strip, laid out as a textured ribbon."""

import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pybullet

from sim.obstacles import Bodies, Colour, Solid
from sim.optics import FAR_M, ground_points, sky
from sim.renderers.forms import form_of
from sim.road import Road
from sim.spec import CameraSpec
from sim.strip import Strip
from sim.surface import Surface

NEAR_M = 0.05  # at full size, as the others
WHITE = [1.0, 1.0, 1.0, 1.0]
MEADOW, RIBBON = 0, 1  # PyBullet counts the bodies of a client
ALONG_M, ACROSS_M = 1.0, 2.0  # of a facet: small ones keep the software rasteriser's perspective exact near the camera


class BulletRenderer:
    """Renders what a camera on the car sees of a surface, in 2-4 ms with PyBullet's TinyRenderer.

    It has a PyBullet of its own: only that gives a texture's memory back, and it keeps the car's body out of
    the picture.
    """

    def __init__(self, surface: Surface, camera: CameraSpec) -> None:
        self.camera = camera
        self.client = pybullet.connect(pybullet.DIRECT)
        unit = surface.road.unit_m
        _lay_meadow(self.client, surface.strip.beyond, unit)
        lay_ribbon(self.client, surface.strip)
        self._solids = BulletSolids(self.client)
        self._projection = _project(camera, unit)
        self._sky = sky(camera)
        self._too_far = (ground_points(camera)[1] > FAR_M * unit).reshape(self._sky.shape[:2])

    def render(
        self, pose: tuple[float, float, float], solids: Sequence[Solid] = (), out: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the picture from pose (x_m, y_m, yaw_rad), (height, width, 3) uint8 RGB, drawn into `out` if given."""
        camera = self.camera
        self._solids.show(solids)
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
        body = np.reshape(segmentation, image.shape[:2])
        ground = (body == MEADOW) | (body == RIBBON)
        shown = np.where(((body < 0) | (ground & self._too_far))[..., None], self._sky, image)
        if out is None:
            return shown
        out[:] = shown
        return out

    def _view(self, pose: tuple[float, float, float]) -> list[float]:
        x, y, yaw = pose
        camera = self.camera
        eye = [x + camera.x_m * math.cos(yaw), y + camera.x_m * math.sin(yaw), camera.height_m]
        level, down = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
        gaze = yaw + camera.yaw_rad
        target = [eye[0] + level * math.cos(gaze), eye[1] + level * math.sin(gaze), eye[2] - down]
        return pybullet.computeViewMatrix(eye, target, [0, 0, 1])

    def close(self) -> None:
        """Free PyBullet."""
        pybullet.disconnect(self.client)


def _project(camera: CameraSpec, unit_m: float) -> list[float]:
    """OpenGL's projection; TinyRenderer looks through the lower left corner of a pixel, so shift it to the centre."""
    near_m = NEAR_M * unit_m
    right, up = (
        [(side * pixels / 2 + 0.5) / camera.focal_px * near_m for side in (-1, 1)]
        for pixels in (camera.width_px, camera.height_px)
    )
    return pybullet.computeProjectionMatrix(*right, *up, near_m, FAR_M * unit_m)


def _lay_meadow(client: int, colour: np.ndarray, unit_m: float) -> None:
    """The verge's colour beyond the strip, a little below it."""
    meadow = pybullet.createVisualShape(
        pybullet.GEOM_BOX,
        halfExtents=[2000 * unit_m, 2000 * unit_m, 0.01 * unit_m],
        visualFramePosition=[0, 0, -0.05 * unit_m],
        rgbaColor=[channel / 255 for channel in colour.tolist()] + [1],
        physicsClientId=client,
    )
    pybullet.createMultiBody(0, baseVisualShapeIndex=meadow, physicsClientId=client)


def lay_ribbon(client: int, strip: Strip) -> int:
    """Cover the ground with the strip, facet by facet along the road; returns the body."""
    with tempfile.TemporaryDirectory() as folder:
        shape = _load_mesh(client, Path(folder), _ribbon(strip), WHITE)
        body = pybullet.createMultiBody(0, baseVisualShapeIndex=shape, physicsClientId=client)
        picture = Path(folder) / "strip.png"
        cv2.imwrite(str(picture), cv2.cvtColor(strip.image, cv2.COLOR_RGBA2BGR))
        texture = pybullet.loadTexture(str(picture), physicsClientId=client)
    pybullet.changeVisualShape(body, -1, textureUniqueId=texture, rgbaColor=WHITE, physicsClientId=client)
    return body


def _ribbon(strip: Strip) -> str:
    """The strip in the world as a Wavefront OBJ."""
    road = strip.road
    stations = _stations(road)
    lefts = np.linspace(strip.half_m, -strip.half_m, math.ceil(2 * strip.half_m / ACROSS_M / road.unit_m) + 1)
    xy = np.stack([road.offset_line(left)[stations % len(road.xy_m)] for left in lefts], axis=1).reshape(-1, 2)
    column, row = strip.to_pixels(*np.meshgrid(stations * road.step_m, lefts, indexing="ij"))
    height, width = strip.image.shape[:2]
    corner = (np.arange(len(stations) - 1)[:, None] * len(lefts) + np.arange(len(lefts) - 1)).ravel() + 1
    a, b, c, d = corner, corner + 1, corner + len(lefts) + 1, corner + len(lefts)
    lines = [f"v {x:.6f} {y:.6f} 0" for x, y in xy.tolist()]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in zip(column.ravel() / width, 1 - row.ravel() / height, strict=True)]
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    lines += ["vn 0 0 1", *(f"f {i}/{i}/1 {j}/{j}/1 {k}/{k}/1" for i, j, k in triangles.tolist())]
    return "\n".join(lines)


def _stations(road: Road) -> np.ndarray:
    """Points of the centreline a facet apart, with both ends; a circuit ends with its first point, counted on."""
    stride = max(round(ALONG_M * road.unit_m / road.step_m), 1)
    end = len(road.xy_m) - (not road.closed)
    return np.append(np.arange(0, end, stride), end)


class BulletSolids:
    """The same things for PyBullet's own renderers: bodies that are seen but not touched."""

    def __init__(self, client: int) -> None:
        self._bodies = Bodies(client, _make_visual)

    def show(self, solids: Sequence[Solid]) -> None:
        """Show these solids, and no others."""
        bodies = self._bodies.lend([(s.kind, s.length_m, s.width_m, s.height_m, s.colour) for s in solids])
        for body, solid in zip(bodies, solids, strict=True):
            self._bodies.move(body, solid)


def _make_visual(client: int, *outside: Any) -> int:
    """A body with a link for each colour, as a mesh has but one."""
    form = form_of(*outside)
    painted: defaultdict[Colour, list[np.ndarray]] = defaultdict(list)
    for first, last, colour in form.faces:
        fan = [(first, i, i + 1) for i in range(first + 1, last - 1)]
        painted[colour].append(form.corners[np.array(fan).ravel(), :3])
    nowhere, unturned = [[0, 0, 0]] * len(painted), [[0, 0, 0, 1]] * len(painted)
    with tempfile.TemporaryDirectory() as folder:
        links = [
            _load_mesh(client, Path(folder), _triangles(np.concatenate(faces)), [c / 255 for c in colour] + [1])
            for colour, faces in painted.items()
        ]
        return pybullet.createMultiBody(
            baseMass=0,
            linkMasses=[0] * len(links),
            linkCollisionShapeIndices=[-1] * len(links),
            linkVisualShapeIndices=links,
            linkPositions=nowhere,
            linkOrientations=unturned,
            linkInertialFramePositions=nowhere,
            linkInertialFrameOrientations=unturned,
            linkParentIndices=[0] * len(links),
            linkJointTypes=[pybullet.JOINT_FIXED] * len(links),
            linkJointAxis=[[0, 0, 1]] * len(links),
            physicsClientId=client,
        )


def _triangles(corners: np.ndarray) -> str:
    """Triangles, three corners (3n, 3) each, as a Wavefront OBJ."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in corners.tolist()]
    lines += ["vt 0 0", "vn 0 0 1", *(f"f {i}/1/1 {i + 1}/1/1 {i + 2}/1/1" for i in range(1, len(corners), 3))]
    return "\n".join(lines)


def _load_mesh(client: int, folder: Path, wavefront: str, rgba: list[float]) -> int:
    """Make a visual shape of a Wavefront OBJ, whose file must be there until the shape is part of a body.

    A mesh handed over as lists would never be freed by PyBullet, nor would a file that it caches.
    """
    pybullet.setPhysicsEngineParameter(enableFileCaching=0, physicsClientId=client)
    mesh = folder / f"{len(list(folder.iterdir()))}.obj"
    mesh.write_text(wavefront + "\n")
    return pybullet.createVisualShape(pybullet.GEOM_MESH, fileName=str(mesh), rgbaColor=rgba, physicsClientId=client)
