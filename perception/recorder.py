"""Records a drive that goes on in real time: a frame is compressed when it comes, an episode written when it ends.

The command line hands a recorder to whoever drives, for neither `deploy` nor `sim` knows this package. Needs neither
torch nor gymnasium.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from perception.dataset import EpisodeWriter
from perception.shards import Header, compress, labels_of, pack

LONGEST = 100  # frames of an episode, 10 s at 10 Hz: so much is lost when the car's computer loses power
STANDING = (0.0, -1.0)  # the action executed before the first frame: steering straight, stand still


@dataclass
class Moments:
    """An episode that is not over yet."""

    images: list[bytes] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    labels: list[list[float]] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    seed: int = -1


class Recorder:
    """Adds what is driven to a dataset, in episodes of at most LONGEST frames; a drive is one or more of them.

    The folder is claimed when it is made (see EpisodeWriter) and nothing written before the first frame. Images of
    another size than the first one's raise DatasetError.
    """

    def __init__(self, folder: Path, source: str, size: tuple[int, int], settings: dict[str, Any]) -> None:
        self._header = Header(source, *size, settings)
        self._stack = ExitStack()
        self._writer = self._stack.enter_context(EpisodeWriter(folder, self._header, add=True))
        self._now = Moments()

    def start(self, image: np.ndarray, state: np.ndarray, info: dict[str, Any] | None = None, seed: int = -1) -> None:
        """Begin an episode, and end the one before; state: as in STATE, info: what is known of LABELS."""
        self.end()
        self._now = Moments(seed=seed)
        self._add(image, state, info)

    def step(
        self,
        action: np.ndarray,
        reward: float,
        image: np.ndarray,
        state: np.ndarray,
        info: dict[str, Any] | None = None,
        terminated: bool = False,
    ) -> None:
        """Add the executed action and what was seen after it."""
        self._now.actions.append(action)
        self._now.rewards.append(reward)
        self._add(image, state, info)
        if terminated:
            self.end(terminated=True)
        elif len(self._now.images) >= LONGEST:
            self.start(image, state, info, self._now.seed)

    def end(self, terminated: bool = False) -> None:
        """Write the episode; nothing of less than a step."""
        now, self._now = self._now, Moments()
        if len(now.images) < 2:
            return
        batch = pack(
            self._writer.number,
            images=now.images,
            states=now.states,
            labels=now.labels,
            actions=now.actions,
            rewards=now.rewards,
            terminated=terminated,
            seed=now.seed,
        )
        self._writer.write(batch)

    def close(self) -> None:
        """Write what is not written yet and let go of the folder."""
        try:
            self.end()
        finally:
            self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add(self, image: np.ndarray, state: np.ndarray, info: dict[str, Any] | None) -> None:
        self._now.images.append(compress(image, self._header))
        self._now.states.append(state)
        self._now.labels.append(labels_of(info or {}))


class DriveRecorder:
    """Is told what a vehicle sees and is sent (see `deploy.driving.drive`), and records it.

    The reward is the way along the lane where the truth is known, else what the measured speed adds up to.
    """

    def __init__(self, recorder: Recorder, period_s: float) -> None:
        self._recorder, self._period_s = recorder, period_s
        self._before: Any = None  # the Frame
        self._sent = np.array(STANDING, np.float32)

    def __call__(self, frame: Any, sent: np.ndarray) -> None:
        """frame: a `deploy.vehicles.Frame`; sent: (2,) what the motors received after it."""
        state = np.array([frame.speed_mps, frame.steering_rad, *self._sent], np.float32)
        truth = frame.truth
        info = {"lateral_offset_m": truth.lateral_offset_m} if truth else {}
        if self._before is None or frame.captured_at_s - self._before.captured_at_s > 1.5 * self._period_s:
            self._recorder.start(frame.image, state, info)  # after a missed period, too: no action leads over it
        else:
            over = bool(truth and truth.disengagement)
            self._recorder.step(self._sent, progress_m(self._before, frame), frame.image, state, info, over)
        self._before, self._sent = frame, sent


def progress_m(before: Any, after: Any) -> float:
    """The way along the lane between two frames, the reward; on a real car what the measured speed adds up to.

    Kendall 2018 rewards forward speed: over a control period the same, for a car that keeps to its lane.
    """
    if before.truth and after.truth:
        return after.truth.distance_m - before.truth.distance_m
    return (before.speed_mps + after.speed_mps) / 2 * (after.captured_at_s - before.captured_at_s)


def recording_of(folder: Path, vehicle: str) -> Callable[[Any, float], AbstractContextManager[DriveRecorder]]:
    """What `deploy.driving.drive.drive` needs to have a drive added to a dataset, see `deploy.driving.drive.Watch`."""

    @contextmanager
    def watch(spec: Any, period_s: float) -> Iterator[DriveRecorder]:
        settings = {"vehicle": vehicle, "fps": 1 / period_s, **vars(spec)}
        with Recorder(folder, "drive", (spec.image_height, spec.image_width), settings) as recorder:
            yield DriveRecorder(recorder, period_s)

    return watch
