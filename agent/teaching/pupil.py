"""The pupil: the car's side of learning. It sees frames, acts, and tells the learner what it lived through."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from agent.checkpoint import load_flat_weights
from agent.latent import MIRROR_ACTION, MIRROR_STATE, latents
from agent.line.channel import ActorEnd
from agent.line.experience import Transitions
from agent.noise import OrnsteinUhlenbeck, OrnsteinUhlenbeckConfig, greedy
from deploy.observation import StateVector
from deploy.safety_drivers import Task
from deploy.vehicles import Frame
from deploy.wire import Begin, EpisodeReport, Experience, Undo, Weights
from perception.encoders.convolutions import Autoencoder
from perception.recorder import progress_m

CHUNK = 32  # transitions in a message, 1.6 s of driving
NO_WEIGHTS = Weights(version=0, updates=0, transitions=0, episodes=0, due=0, stop=False)


class Sight(NamedTuple):
    """A frame and what the policy sees of it, on this road and on the mirrored one."""

    frame: Frame
    obs: np.ndarray  # (obs,) float32
    mirrored: np.ndarray  # (obs,) float32


@dataclass
class Episode:
    """What has come of an episode so far."""

    task: Task
    number: int
    began_at_s: float
    steps: int = 0
    distance_m: float = 0.0
    last: Sight | None = None
    executed: np.ndarray = field(default_factory=lambda: np.zeros(2, np.float32))  # since then
    chunk: Transitions = field(default_factory=Transitions)  # not yet shipped


class Pupil:
    """Drives by the newest policy, with noise while it trains; a test is driven by the same weights from end to end.

    Nothing here waits: `exchange`, between two control cycles, sends what is to be sent and takes newer weights if some
    have come. Without a learner the pupil drives on by the weights it has. Every transition of a training episode is
    shipped as lived and mirrored, with the action that the motors really got; nothing of a test ever is. What happened
    while a control cycle was missed is no transition, unless the episode terminated there.

    The noise of an episode depends on seed and number alone: one that is driven again after an undo has the same.
    """

    def __init__(
        self,
        encoder: Autoencoder,
        actor: nn.Module,
        noise: OrnsteinUhlenbeckConfig,
        seed: int,
        vector: StateVector,
        period_s: float,
        line: ActorEnd,
    ) -> None:
        self.encoder, self.actor, self.vector, self.period_s, self.line = encoder, actor, vector, period_s, line
        self.header, self.version = NO_WEIGHTS, 0  # the newest that has come; of the weights that drive
        self.weights = np.zeros(0, np.float32)  # that drive
        self._noise, self._seed = noise, seed
        self._newest: np.ndarray | None = None  # weights that do not drive yet
        self._told = False  # that header, in the last exchange
        self._shipped = 0  # transitions
        self._episode = Episode("train", 0, 0.0)

    @property
    def caught_up(self) -> bool:
        """True when the learner has just said that it has all our experience and made the updates that it is worth.

        What it said before it was lost does not count: then it may be another, with earlier weights.
        """
        line = self.line
        heard = line.sent == line.arrived and self.header.version > line.version
        return self._told and heard and self.header.due == 0

    def begin(self, task: Task, frame: Frame) -> None:
        """An episode starts with that frame, which `act` is given next."""
        number = self.header.episodes
        self._episode = Episode(task, number, frame.captured_at_s)
        self.vector.reset()
        if task == "train":
            self.line.send(Begin(actor=self.line.actor, episode=number))
            self._explorer = OrnsteinUhlenbeck(self._noise, 2, np.random.default_rng([self._seed, number]))
            self._explorer.begin(self.actor, number)

    def act(self, frame: Frame) -> np.ndarray:
        """See a frame and return the action to try, (2,) float32 in [-1, 1]."""
        obs = self._live(frame, terminated=False).obs
        return greedy(self.actor, obs) if self._episode.task == "test" else self._explorer.act(self.actor, obs)

    def executed(self, action: np.ndarray) -> None:
        """Note what the motors really got, (2,) float32."""
        self.vector.executed(action)
        self._episode.executed = action

    def end(self, frame: Frame, disengagement: str | None, finished: bool) -> EpisodeReport:
        """See the last frame of an episode; returns how it went, for `report` to tell the learner."""
        self._live(frame, terminated=disengagement is not None)
        return self._ended(disengagement, finished)

    def cut_off(self) -> EpisodeReport:
        """End an episode with the frame before, as nobody knows what happened since; returns how it went until then."""
        return self._ended(None, finished=False)

    def _ended(self, disengagement: str | None, finished: bool) -> EpisodeReport:
        self._ship()
        episode = self._episode
        return EpisodeReport(
            actor=self.line.actor,
            car=0,
            episode=episode.number,
            kind=episode.task,
            steps=episode.steps,
            distance_m=episode.distance_m,
            reward=episode.distance_m,
            disengagement=disengagement,
            finished=finished,
            version=self.version,
            wall_s=episode.last.frame.captured_at_s - episode.began_at_s if episode.last else 0.0,
        )

    def report(self, report: EpisodeReport) -> None:
        """Tell the learner how an episode went, and of a test what weights drove it."""
        self.line.send(report, *([self.weights] if report.kind == "test" else []))

    def undo(self) -> None:
        """Let the learner be again what it was when the last training episode began."""
        self.line.send(Undo(actor=self.line.actor))

    def exchange(self, keep_weights: bool) -> None:
        """Send what is to be sent and take what has come, newer weights too unless they are to be kept."""
        newest = self.line.newest_weights()
        self._told = newest is not None
        if newest is not None:
            self.header, self._newest = newest
        if self._newest is not None and not keep_weights:
            load_flat_weights(self.actor, torch.from_numpy(self._newest.copy()))
            self.weights, self.version, self._newest = self._newest, self.header.version, None

    def _live(self, frame: Frame, terminated: bool) -> Sight:
        """See a frame; the way there from the last one is a transition."""
        episode, now = self._episode, self._see(frame)
        if episode.last:
            self._add(episode, episode.last, now, terminated)
        episode.last = now
        return now

    def _see(self, frame: Frame) -> Sight:
        state = self.vector.assemble(frame.speed_mps, frame.steering_rad)
        z, mirrored_z = latents(self.encoder, np.stack([frame.image, frame.image[:, ::-1]]))
        return Sight(frame, np.concatenate([z, state]), np.concatenate([mirrored_z, state * MIRROR_STATE]))

    def _add(self, episode: Episode, last: Sight, now: Sight, terminated: bool) -> None:
        reward = progress_m(last.frame, now.frame)
        episode.steps, episode.distance_m = episode.steps + 1, episode.distance_m + reward
        whole = now.frame.captured_at_s - last.frame.captured_at_s < 1.5 * self.period_s
        if episode.task == "test" or not (whole or terminated):
            return
        executed = episode.executed
        episode.chunk.add(last.obs, executed, reward, terminated, now.obs)
        episode.chunk.add(last.mirrored, executed * MIRROR_ACTION, reward, terminated, now.mirrored)
        if len(episode.chunk) >= CHUNK:
            self._ship()

    def _ship(self) -> None:
        chunk, self._episode.chunk = self._episode.chunk, Transitions()
        if len(chunk):
            header = Experience(episode=self._episode.number, first=self._shipped, actor=self.line.actor)
            self.line.send(header, *chunk.arrays())
            self._shipped += len(chunk)
