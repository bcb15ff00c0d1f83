"""What pages show: the scene, the newest control cycle, what came before it, and the figures of all."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.dashboard.messages import Cycle, Scene, Serving, Told

PAST = 600  # cycles that the strips of a new page begin with; half a minute at 20 Hz
TRACK = 4000  # places on the map
APART_M = 0.25  # two of them
LATENCIES = 2000  # newest, of which percentiles are told
QUALITY = 92  # of a JPEG
SEEN = ("image", "round_trips_ms", "inferences_ms")  # of a cycle; sent in another way


class Board:
    """Takes what the control loop tells, and has it as pages read it: JSON, and pictures as JPEG."""

    def __init__(self) -> None:
        self.scene: Scene | None = None
        self.cycle: Cycle | None = None
        self.serving: Serving | None = None
        self.curves: dict[str, Any] | None = None
        self.rebuilt: bytes = b""  # JPEG of what the encoder sees
        self.over = False
        self.newest: object = None  # another one whenever `now` is
        self._past: deque[tuple[float, ...]] = deque(maxlen=PAST)
        self._track: deque[tuple[float, float]] = deque(maxlen=TRACK)
        self._round_trips_ms: deque[float] = deque(maxlen=LATENCIES)
        self._inferences_ms: deque[float] = deque(maxlen=LATENCIES)
        self._jpeg: tuple[Cycle, bytes] | None = None

    def take(self, message: Told) -> None:
        """Note what was told."""
        self.newest = message
        match message:
            case Scene():
                self.scene = message
            case Serving():
                self.serving = message
                self._inferences_ms.extend(message.inferences_ms)
            case Cycle():
                self.cycle = message
                self._past.append(row(message))
                self._round_trips_ms.extend(message.round_trips_ms)
                self._inferences_ms.extend(message.inferences_ms)
                self._move(message)

    def end(self) -> None:
        """Nothing more will be told."""
        self.over, self.newest = True, "over"

    def image(self) -> NDArray[np.uint8] | None:
        """The newest camera picture, (H, W, 3) RGB."""
        if self.cycle is None or self.cycle.image is None:
            return None
        found = self.cycle.image
        return np.frombuffer(found.pixels, np.uint8).reshape(found.height, found.width, 3)

    def picture(self) -> bytes:
        """The same as JPEG; nothing where there is none."""
        image = self.image()
        if image is None or self.cycle is None:
            return b""
        if self._jpeg is None or self._jpeg[0] is not self.cycle:
            self._jpeg = self.cycle, to_jpeg(image)
        return self._jpeg[1]

    def opening(self) -> str:
        """What a page begins with: the scene and what came before, as JSON."""
        past = {"past": list(self._past), "track": list(self._track)}
        return _json("scene", self.scene, past)

    def now(self) -> str:
        """The newest cycle, or what was served, and the figures of all, as JSON."""
        figures = {
            "round_trip_ms": percentiles(self._round_trips_ms),
            "inference_ms": percentiles(self._inferences_ms),
            "over": self.over,
        }
        return _json("now", self.cycle or self.serving, figures)

    def learned(self) -> str:
        """The curves of learning, as JSON."""
        return msgspec.json.encode({"type": "curves", **(self.curves or {})}).decode()

    def _move(self, cycle: Cycle) -> None:
        if cycle.pose is None:
            return
        x_m, y_m, _ = cycle.pose
        if not self._track or np.hypot(x_m - self._track[-1][0], y_m - self._track[-1][1]) >= APART_M:
            self._track.append((x_m, y_m))


def row(cycle: Cycle) -> tuple[float, float, float, float]:
    """What the strips show of a cycle: time in s, steering and speed set-point in [-1, 1], speed in m/s."""
    return cycle.t_s, cycle.steering, cycle.speed, cycle.speed_mps


def percentiles(values: Iterable[float]) -> tuple[float, float] | None:
    """Median and 99th percentile; None of nothing."""
    found = np.fromiter(values, float)
    return tuple(np.percentile(found, [50, 99]).tolist()) if found.size else None


def to_jpeg(image: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 3) uint8 RGB for a browser."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def _json(kind: str, message: Told | None, more: dict[str, Any]) -> str:
    fields = msgspec.structs.asdict(message) if message else {}
    return msgspec.json.encode({"type": kind, **{k: v for k, v in fields.items() if k not in SEEN}, **more}).decode()
