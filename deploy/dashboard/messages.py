"""What the control loop and the dashboard's process tell each other, and what a page may ask for.

Between the two processes a message is one packet of msgpack on a socket pair; a page speaks JSON. All moments are
monotonic and so the same for all processes of this machine.
"""

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from deploy.driving.controls import Mode
from deploy.driving.safety import Ask
from deploy.vehicles import Mapped, Vehicle

Part = Annotated[float, Meta(ge=-1, le=1)]
Order = Literal["train", "test", "undo", "done", "pause", "takeover", "finished"]
MOST_PX = 160  # of a picture's longer side; of a larger one every other pixel is shown, or every third
Line = list[tuple[float, float]]  # x, y in metres


class Message(Struct, frozen=True, forbid_unknown_fields=True, tag=str.lower):
    """Base of all messages; the tag that tells them apart is the lower-case class name."""


# -- what there is to see: from the control loop


class Picture(Struct, frozen=True, array_like=True):
    """A camera image, (height, width, 3) uint8 RGB."""

    height: int
    width: int
    pixels: bytes


def picture(image: NDArray[np.uint8]) -> Picture | None:
    """The image (H, W, 3) with every n-th pixel, so that it is no larger than `MOST_PX`; None of what is no image."""
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        return None
    step = -(-max(image.shape) // MOST_PX)
    small = image[::step, ::step]
    return Picture(small.shape[0], small.shape[1], small.tobytes())


class Scene(Message, frozen=True, kw_only=True):
    """What this is, said once at the beginning."""

    kind: Literal["drive", "teach", "serve", "run"]
    title: str
    hands: bool = False  # a person may drive by hand
    orders: bool = False  # the safety driver sits at the page
    top_speed_mps: float = 0.0
    lane: list[Line] = []  # the lines to draw on the map, where somebody knows them
    run: str | None = None  # folder of a training run, for its curves
    eyes: str | None = None  # ONNX file that rebuilds what the encoder sees


class Cycle(Message, frozen=True, kw_only=True):
    """The newest control cycle, and what was counted in those since the last message."""

    at_s: float  # when it was told
    t_s: float  # since the start
    state: str  # of the safety machine, or the phase of teaching
    mode: Mode = "local"
    task: str | None = None  # when teaching
    fault: str | None = None
    steering: float  # that the motors got, [-1, 1]
    speed: float  # set-point that they got, [-1, 1]
    speed_mps: float
    novelty: float | None = None
    value: float | None = None
    pose: tuple[float, float, float] | None = None  # x and y in m, yaw in rad; None of a real car
    distance_m: float | None = None
    cycles: int  # in all
    missed: int  # of them without a valid action in time
    round_trips_ms: list[float] = []  # since the last message
    inferences_ms: list[float] = []
    image: Picture | None = None  # None of a camera that gives none


class Serving(Message, frozen=True, kw_only=True):
    """What a policy server has done so far."""

    at_s: float
    policy_id: str
    run: str
    counts: dict[str, int]  # of messages, by what became of them
    reloads: dict[str, int]
    inferences_ms: list[float] = []  # since the last message


Told = Scene | Cycle | Serving


def lane_of(car: Vehicle) -> list[Line]:
    """The lane's edges, to the centimetre; none where nobody knows them."""
    return [edge.round(2).tolist() for edge in car.lane()] if isinstance(car, Mapped) else []


# -- what people ask for: from a page


class Token(Message, frozen=True, kw_only=True):
    """I know it, so listen to me."""

    token: str


class Hold(Message, frozen=True, kw_only=True):
    """My hands are on wheel and throttle; said again and again."""

    steering: Part
    speed: Part
    seen_s: float  # `at_s` of the newest cycle that the page shows


class Here(Message, frozen=True, kw_only=True):
    """I am watching the car that learns; said again and again."""

    seen_s: float


class LetGo(Message, frozen=True, kw_only=True):
    """My hands are off, or I have turned away."""


class Choose(Message, frozen=True, kw_only=True):
    """Who is to drive."""

    mode: Mode
    seen_s: float


class Press(Message, frozen=True, kw_only=True):
    """Start, stop, E-STOP or reset."""

    ask: Ask
    seen_s: float = 0.0


class Give(Message, frozen=True, kw_only=True):
    """An order of the safety driver."""

    order: Order
    seen_s: float = 0.0


FromPage = Token | Hold | Here | LetGo | Choose | Press | Give


# -- the same as the control loop hears it, with moments of this machine


class Held(Message, frozen=True, kw_only=True):
    """Hands are on wheel and throttle until then."""

    steering: float
    speed: float
    until_s: float


class Watched(Message, frozen=True, kw_only=True):
    """Somebody who can stop the car watches it until then; 0 = nobody any more."""

    until_s: float


Asked = Held | Watched | LetGo | Choose | Press | Give

encode = msgspec.msgpack.Encoder().encode
told: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Told)
asked: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Asked)
from_page: msgspec.json.Decoder[Any] = msgspec.json.Decoder(FromPage)
