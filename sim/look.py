"""What one episode looks like, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Look:
    """Materials, markings, light and effects of one episode."""

    seed: int = 0  # of textures and random details
    pavement: str = "asphalt"  # of sim.materials.MATERIALS
    verge: str = "grass"  # of sim.materials.VERGES
    left_line: str = "solid"  # of sim.markings.LINES, as the other lines
    right_line: str = "solid"
    lane_line: str = "dashed"  # between lanes
    left_paint: str = "white"  # of sim.markings.PAINTS, as the other paints
    right_paint: str = "white"
    lane_paint: str = "white"
    sun_azimuth_rad: float = 0.0  # direction in the world from which the sun shines
    surface: Mapping[str, float] = field(
        default_factory=dict
    )  # name in sim.effects.SURFACE_EFFECTS -> strength, 0 to 1
    camera: Mapping[str, float] = field(default_factory=dict)  # name in sim.effects.CAMERA_EFFECTS -> strength, 0 to 1
