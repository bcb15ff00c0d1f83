"""What worlds there may be: ranges to draw from, at full size, and the presets of growing difficulty."""

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields

from sim.dynamics import DynamicsRange
from sim.effects import CAMERA_EFFECTS, SURFACE_EFFECTS
from sim.markings import LINES, PAINTS
from sim.materials import MATERIALS, VERGES
from sim.obstacles import KINDS
from sim.options import expect, read_options
from sim.routes import ROUTES

EFFECTS = SURFACE_EFFECTS | CAMERA_EFFECTS


@dataclass(frozen=True)
class Scenario:
    """A distribution of worlds, at full size: everything shrinks with the vehicle's scale.

    Of each tuple of names one is drawn, of each pair of numbers one between them. What belongs to the road (its
    course, lanes and width) is drawn from the road's seed, what belongs to the episode from the episode's.
    Raises ScenarioError for an unknown name or an impossible range.
    """

    topology: str = "open"  # of sim.routes.ROUTES
    track: str = ""  # a CSV centreline, or a folder of them, instead of a procedural road
    length_m: float = 250.0  # of the route; on a circuit, of the lap
    min_radius_m: float = 14.0  # of the tightest bend
    lanes: tuple[int, ...] = (1,)  # the car keeps to the rightmost
    lane_width_m: tuple[float, float] = (3.0, 3.0)
    pavements: tuple[str, ...] = ("asphalt",)  # of sim.materials.MATERIALS
    verges: tuple[str, ...] = ("grass",)  # of sim.materials.VERGES
    left_lines: tuple[str, ...] = ("solid",)  # of sim.markings.LINES
    right_lines: tuple[str, ...] = ("solid",)
    lane_lines: tuple[str, ...] = ("dashed",)
    paints: tuple[str, ...] = ("white",)  # of sim.markings.PAINTS
    effects: Mapping[str, float] = field(default_factory=dict)  # of sim.effects; name -> greatest strength, 0 to 1
    effect_share: float = 1.0  # of the effects in an episode, the others are absent
    dynamics: DynamicsRange = field(default_factory=DynamicsRange)
    obstacles: Mapping[str, int] = field(default_factory=dict)  # of sim.obstacles.KINDS; name -> how many in 250 m
    lead_speed: float = 0.5  # of a lead vehicle, as a part of the car's top speed

    def __post_init__(self) -> None:
        for option, table in TABLES.items():
            _expect_names(option, getattr(self, option), table)
        for name, strength in self.effects.items():
            expect(0 <= strength <= 1, f"effects[{name!r}]", strength, "a strength from 0 to 1")
        for name, count in self.obstacles.items():
            expect(count >= 0, f"obstacles[{name!r}]", count, "how many there are in 250 m")
        self._check_dynamics()
        low, high = self.lane_width_m
        expect(0 < low <= high < math.inf, "lane_width_m", self.lane_width_m, "(least, greatest), more than 0")
        expect(0 < self.length_m < math.inf, "length_m", self.length_m, "more than 0")
        expect(high < self.min_radius_m < math.inf, "min_radius_m", self.min_radius_m, f"more than a lane, {high} m")
        expect(min(self.lanes, default=0) >= 1, "lanes", self.lanes, "numbers from 1")
        expect(0 <= self.effect_share <= 1, "effect_share", self.effect_share, "0 to 1")
        expect(0 < self.lead_speed <= 1, "lead_speed", self.lead_speed, "more than 0 and at most 1")

    def _check_dynamics(self) -> None:
        for name, most in asdict(self.dynamics).items():
            if name.endswith("_delay"):
                expect(most in range(4), f"dynamics.{name}", most, "0 to 3 control periods")
            elif name.endswith(("_rad", "_s")):
                expect(0 <= most <= 0.5, f"dynamics.{name}", most, "0 to 0.5")
            else:
                expect(0 <= most < 1, f"dynamics.{name}", most, "a part from 0 to less than 1")


TABLES = {
    "topology": ROUTES,
    "pavements": MATERIALS,
    "verges": VERGES,
    "left_lines": LINES,
    "right_lines": LINES,
    "lane_lines": LINES,
    "paints": PAINTS,
    "effects": EFFECTS,
    "obstacles": KINDS,
}


def _expect_names(option: str, found: Collection[str], table: Collection[str]) -> None:
    """`topology` is one name, the others are several; a lone name where several belong is refused too."""
    names = (found,) if option == "topology" else found
    known = not isinstance(names, str) and len(names) > 0 and all(name in table for name in names)
    expect(known or (not names and isinstance(names, Mapping)), option, found, f"names of {', '.join(table)}")


MILD = DynamicsRange(
    mass=0.1, friction=0.1, steering_offset_rad=0.01, steering_lag_s=0.05,
    camera_height=0.05, camera_pitch_rad=0.02, camera_yaw_rad=0.02, camera_fov_rad=0.03,
)  # fmt: skip
HARSH = DynamicsRange(
    mass=0.25, friction=0.3, steering_offset_rad=0.03, steering_lag_s=0.15,
    camera_height=0.15, camera_pitch_rad=0.05, camera_yaw_rad=0.05, camera_fov_rad=0.1,
    actuation_delay=2, frame_delay=1, frame_drop=0.05,
)  # fmt: skip
SCENARIOS = {
    # The fixed world of the paper's experiment: one lane, edge lines, a fair day, nothing that varies but the road.
    "paper": Scenario(),
    # The paper's simulator varied texture, markings and topology every episode.
    "country": Scenario(
        lanes=(1, 2),
        lane_width_m=(2.75, 3.5),
        pavements=("asphalt", "concrete"),
        verges=("grass", "gravel"),
        left_lines=("solid", "dashed", "none"),
        right_lines=("solid", "dashed"),
        lane_lines=("dashed", "solid", "double"),
        paints=("white", "yellow"),
        effects=dict.fromkeys(EFFECTS, 0.5),
        effect_share=0.25,
        dynamics=MILD,
    ),
    "circuit": Scenario(
        topology="circuit",
        length_m=300.0,
        lane_width_m=(3.5, 4.0),
        verges=("kerb", "grass"),
        effects=dict.fromkeys(EFFECTS, 0.5),
        effect_share=0.25,
        dynamics=MILD,
    ),
    "wild": Scenario(
        lanes=(1, 2, 3),
        lane_width_m=(2.5, 3.75),
        pavements=tuple(MATERIALS),
        verges=tuple(VERGES),
        left_lines=tuple(LINES),
        right_lines=tuple(LINES),
        lane_lines=("solid", "dashed", "double"),
        paints=tuple(PAINTS),
        effects=dict.fromkeys(EFFECTS, 1.0),
        effect_share=0.4,
        dynamics=HARSH,
    ),
}


def load_scenario(name: str, **changes: object) -> Scenario:
    """Return the preset of that name with these fields changed; ScenarioError for a name or field there is not."""
    expect(name in SCENARIOS, "scenario", name, f"one of {', '.join(SCENARIOS)}")
    if isinstance(dynamics := changes.get("dynamics"), Mapping):
        changes["dynamics"] = read_options(DynamicsRange, dynamics)
    preset = SCENARIOS[name]
    return read_options(Scenario, {field.name: getattr(preset, field.name) for field in fields(Scenario)} | changes)
