"""What one episode looks like, as data."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sim.effects import CAMERA_EFFECTS, SURFACE_EFFECTS
from sim.markings import LINES, PAINTS
from sim.materials import MATERIALS, VERGES


class LookError(ValueError):
    """A look names something that there is not."""

    exit_code = 2


@dataclass(frozen=True)
class Look:
    """Materials, markings, light and effects of one episode; LookError when a name or strength is unknown."""

    seed: int = 0  # of textures and random details
    pavement: str = "asphalt"  # of MATERIALS
    verge: str = "grass"  # of VERGES
    left_line: str = "solid"  # of LINES, as the other lines
    right_line: str = "solid"
    lane_line: str = "dashed"  # between lanes
    left_paint: str = "white"  # of PAINTS, as the other paints
    right_paint: str = "white"
    lane_paint: str = "white"
    sun_azimuth_rad: float = 0.0  # direction in the world from which the sun shines
    surface: Mapping[str, float] = field(default_factory=dict)  # SURFACE_EFFECTS and their strengths in (0, 1]
    camera: Mapping[str, float] = field(default_factory=dict)  # CAMERA_EFFECTS and their strengths in (0, 1]

    def __post_init__(self) -> None:
        _check("pavement", [self.pavement], MATERIALS)
        _check("verge", [self.verge], VERGES)
        for place in ("left", "right", "lane"):
            _check(f"{place}_line", [getattr(self, f"{place}_line")], LINES)
            _check(f"{place}_paint", [getattr(self, f"{place}_paint")], PAINTS)
        for name, effects, known in (
            ("surface", self.surface, SURFACE_EFFECTS),
            ("camera", self.camera, CAMERA_EFFECTS),
        ):
            _check(name, effects, known)
            for effect, strength in effects.items():
                if not 0 < strength <= 1:
                    raise LookError(f"look: the strength of {effect!r} is {strength}, expected above 0 and at most 1")


def _check(name: str, found: Collection[str], known: Collection[str]) -> None:
    """Raise LookError that tells what is expected, if anything found is not known."""
    for unknown in (entry for entry in found if entry not in known):
        raise LookError(f"look: {name} is {unknown!r}, expected one of {', '.join(known)}")
