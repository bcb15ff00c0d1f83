"""The pupil: the car's side of learning. It sees frames, acts, and tells the learner what it lived through."""

import time

import numpy as np
import torch
from torch import nn

from agent.channel import ActorEnd
from agent.checkpoint import load_flat_weights
from agent.experience import Transitions
from agent.latent import MIRROR_ACTION, MIRROR_STATE, latents
from agent.noise import Explorer, greedy
from deploy.observation import StateVector
from deploy.safety_drivers import Task
from deploy.vehicles import Frame
from deploy.wire import Begin, EpisodeReport, Experience, Undo, Weights
from perception.encoders.vae import VAE

CHUNK = 32  # transitions in a message, 1.6 s of driving
NO_WEIGHTS = Weights(version=0, updates=0, transitions=0, episodes=0, due=0, stop=False)


class Pupil:
    """Drives by the newest policy, with noise while it trains; a test is driven by the same weights from end to end.

    Nothing here waits: `exchange`, between two control cycles, sends what is to be sent and takes newer weights if some
    have come. Without a learner the pupil drives on by the weights it has. Every transition of a training episode is
    shipped as lived and mirrored, with the action that the motors really got.
    """

    def __init__(
        self,
        encoder: VAE,
        actor: nn.Module,
        explorer: Explorer,
        vector: StateVector,
        line: ActorEnd,
    ) -> None:
        self.encoder, self.actor, self.explorer, self.vector, self.line = encoder, actor, explorer, vector, line
        self.header, self.version = NO_WEIGHTS, 0  # newest that has come; of the weights that drive
        self.heard_at_s = 0.0  # when it came, on the monotonic clock
        self.weights = np.zeros(0, np.float32)  # that drive
        self._newer: np.ndarray | None = None  # weights kept for after the test
        self._noise_before = explorer.state()
        self._shipped = 0  # transitions
        self._task: Task | None = None  # while driving

    @property
    def caught_up(self) -> bool:
        """True once the learner has had all our experience and made the updates that it is worth."""
        outbox = self.line.outbox
        return outbox.under_way == 0 and self.header.version > outbox.version and self.header.due == 0

    def begin(self, task: Task, frame: Frame) -> None:
        """An episode starts with that frame."""
        self._task, self._first, self._last = task, frame, None
        self._chunk, self._steps, self._total = Transitions(), 0, 0.0
        self.episode = self.header.episodes
        self.vector.reset()
        if task == "train":
            self._noise_before = self.explorer.state()
            self.line.send(Begin(actor=self.line.actor, episode=self.episode))
            self.explorer.begin(self.actor, self.episode)

    def act(self, frame: Frame) -> np.ndarray:
        """See a frame and return the action to try, (2,) float32 in [-1, 1]."""
        self._live(frame, terminated=False)
        obs, _ = self._obs
        return greedy(self.actor, obs) if self._task == "test" else self.explorer.act(self.actor, obs)

    def executed(self, action: np.ndarray) -> None:
        """Note what the motors really got."""
        self.vector.executed(action)
        self._executed = action

    def end(self, frame: Frame, disengagement: str | None, finished: bool) -> EpisodeReport:
        """See the last frame of an episode; returns how it went, which `report` tells the learner."""
        self._live(frame, terminated=disengagement is not None)
        self._ship()
        task, self._task = self._task, None
        assert task is not None  # begun before it ends
        return EpisodeReport(
            actor=self.line.actor,
            episode=self.episode,
            kind=task,
            steps=self._steps,
            distance_m=self._total,
            reward=self._total,
            disengagement=disengagement,
            finished=finished,
            version=self.version,
            wall_s=frame.captured_at_s - self._first.captured_at_s,
        )

    def report(self, report: EpisodeReport) -> None:
        """Tell the learner how an episode went, and of a test what weights drove it."""
        self.line.send(report, *([self.weights] if report.kind == "test" else []))

    def undo(self) -> None:
        """Let the learner, and the noise, be again what they were when the last training episode began."""
        self.explorer.restore(self._noise_before)
        self.line.send(Undo(actor=self.line.actor))

    def exchange(self) -> None:
        """Send what is to be sent and take newer weights, if any have come; waits for nothing."""
        newest = self.line.newest_weights()
        if newest is not None:
            (self.header, self._newer), self.heard_at_s = newest, time.monotonic()
            self._newer_version = self.header.version
        if self._newer is not None and self._task != "test":
            load_flat_weights(self.actor, torch.from_numpy(self._newer.copy()))
            self.weights, self.version, self._newer = self._newer, self._newer_version, None

    def _live(self, frame: Frame, terminated: bool) -> None:
        """Encode a frame, as it is and mirrored; what led there is a transition."""
        before, self._obs, last = self._obs if self._last else None, self._see(frame), self._last
        self._last = frame
        if before is None or last is None:
            return
        reward = progress_m(last, frame)
        self._steps, self._total = self._steps + 1, self._total + reward
        if self._task == "train":
            self._chunk.add(before[0], self._executed, reward, terminated, self._obs[0])
            self._chunk.add(before[1], self._executed * MIRROR_ACTION, reward, terminated, self._obs[1])
            if len(self._chunk) >= CHUNK:
                self._ship()

    def _see(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        state = self.vector.assemble(frame.speed_mps, frame.steering_rad)
        seen, mirrored = latents(self.encoder, np.stack([frame.image, frame.image[:, ::-1]]))
        return np.concatenate([seen, state]), np.concatenate([mirrored, state * MIRROR_STATE])

    def _ship(self) -> None:
        if len(self._chunk):
            header = Experience(episode=self.episode, first=self._shipped, actor=self.line.actor)
            self.line.send(header, *self._chunk.arrays())
            self._shipped += len(self._chunk)
            self._chunk = Transitions()


def progress_m(before: Frame, after: Frame) -> float:
    """The way along the lane between two frames, the reward; on a real car what the measured speed adds up to.

    Kendall 2018 rewards forward speed: over a control period the same, for a car that keeps to its lane.
    """
    if before.truth and after.truth:
        return after.truth.distance_m - before.truth.distance_m
    return (before.speed_mps + after.speed_mps) / 2 * (after.captured_at_s - before.captured_at_s)
