"""The car's camera: a renderer, what lies between the world and the picture, and frames that come late."""

from collections.abc import Sequence
from pkgutil import resolve_name

import numpy as np

from sim.dynamics import FrameDelay
from sim.effects import CAMERA_EFFECTS, Motion
from sim.obstacles import Solid
from sim.renderers import RENDERERS, Renderer
from sim.scene import Scene
from sim.surface import Surface


class Camera:
    """Takes one frame after another of a scene; whoever owns it closes it."""

    def __init__(self, surface: Surface, scene: Scene, renderer: str) -> None:
        self.scene = scene
        look, spec = scene.look, scene.vehicle.camera
        self._renderer: Renderer = resolve_name(RENDERERS[renderer])(surface, spec)
        rng = np.random.default_rng([look.seed, 2])
        self._effects = [
            resolve_name(effect)(look.camera[name], look, spec, rng)
            for name, effect in CAMERA_EFFECTS.items()
            if name in look.camera
        ]
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next is the first of an episode."""
        self._delay = FrameDelay(self.scene.dynamics)

    def capture(self, motion: Motion, solids: Sequence[Solid] = (), out: np.ndarray | None = None) -> np.ndarray:
        """Take the next frame, (height, width, 3) uint8 RGB, into `out` if given."""
        image = self._renderer.render(motion.pose, solids, out)
        for effect in self._effects:
            image = effect(image, motion)
        image = self._delay(image)
        if out is None or image is out:
            return image
        out[:] = image
        return out

    def close(self) -> None:
        self._renderer.close()
