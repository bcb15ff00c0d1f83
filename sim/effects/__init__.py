"""What wears a road, and what lies between it and the picture: each effect small, independent and of some strength.

A surface effect is f(strip, strength, rng) and paints strip.image in place. A camera effect is a class made with
(strength, look, camera, rng) and called with (image, motion) once per frame; the image is (h, w, 3) uint8 RGB, and the
effect may write into it. Both are applied in their table's order. Strength runs from 0, nothing, to 1.
"""

from typing import NamedTuple

SURFACE_EFFECTS = {
    "line wear": "sim.effects.damage:wear_lines",
    "patches": "sim.effects.damage:patch",
    "cracks": "sim.effects.damage:crack",
    "tyre marks": "sim.effects.damage:mark_with_tyres",
    "puddles": "sim.effects.litter:pour_puddles",
    "leaves": "sim.effects.litter:drop_leaves",
    "tree shadows": "sim.effects.light:cast_tree_shadows",
    "sunlight": "sim.effects.light:tint",
    "dusk": "sim.effects.light:darken",
}

CAMERA_EFFECTS = {
    "fog": "sim.effects.weather:Fog",
    "sun glow": "sim.effects.sky:SunGlow",
    "dusk": "sim.effects.sky:Dusk",
    "rain": "sim.effects.weather:Rain",
    "dirty lens": "sim.effects.lens:DirtyLens",
    "motion blur": "sim.effects.lens:MotionBlur",
    "exposure": "sim.effects.sensor:Exposure",
    "white balance": "sim.effects.sensor:WhiteBalance",
    "flicker": "sim.effects.sensor:Flicker",
    "noise": "sim.effects.sensor:Noise",
}


class Motion(NamedTuple):
    """How the car moves at the moment of a frame."""

    pose: tuple[float, float, float]  # x_m, y_m, yaw_rad
    speed_mps: float
    yaw_rate_radps: float
    frame: int  # since the episode began
