"""The driver: drives episodes with the newest weights and ships what it lives through to the learner."""

import time
from collections.abc import Callable
from multiprocessing import parent_process

import numpy as np
import torch

from agent.channel import ActorEnd
from agent.checkpoint import load_flat_weights
from agent.experience import Transitions
from agent.latent import MIRROR_ACTION, LatentState
from agent.networks import Actor
from agent.noise import OrnsteinUhlenbeck
from deploy.wire import EpisodeReport, Experience, Weights

CHUNK = 32  # transitions in a message
PATIENCE_MS = 200  # between looks whether the learner still lives


class LearnerGone(Exception):
    """The learner has ended, or said that training is over."""


class Driver:
    """Drives whole episodes in one environment with one actor network.

    A test starts at the start of the route; a training episode where the car left the lane in the last one and was put
    back, so that all of the route is learned from the first episodes on, as on a real road. Every transition is shipped
    twice, as lived and mirrored: what is right in a left bend is right in a right bend the other way round.
    """

    def __init__(self, env: LatentState, actor: Actor, noise: OrnsteinUhlenbeck, line: ActorEnd) -> None:
        self.env, self.actor, self.noise, self.line = env, actor, noise, line
        self.header = Weights(version=0, updates=0, transitions=0, episodes=0, due=0, stop=False)  # until some arrive
        self.weights = np.zeros(0, np.float32)
        self.transitions = self.episode = 0  # shipped; that this driver is in, counted over all drivers
        self.put_back_m = 0.0  # where the next training episode starts

    def run(self, seed: int) -> None:
        """Train until the learner says stop, the first actor tests in between. Raises LearnerGone then."""
        self.env.reset(seed=seed)
        self.wait_for(lambda header: True)
        while True:
            self.noise.reset(self.header.episodes)
            self.line.send(self.drive(train=True))
            self.wait_for(self._caught_up)
            if self.line.actor == 0:
                self.line.send(self.drive(train=False), self.weights)

    def _caught_up(self, header: Weights) -> bool:
        """True once the learner has had all our experience and made the updates that it is worth."""
        outbox = self.line.outbox
        return outbox.under_way == 0 and header.version > outbox.version and header.due == 0

    def wait_for(self, condition: Callable[[Weights], bool]) -> None:
        """Take new weights until their header satisfies the condition."""
        while not (self._take_newest(PATIENCE_MS) and condition(self.header)):
            self._insist_on_learner()

    def _insist_on_learner(self) -> None:
        """Raise LearnerGone when the process that started this one has ended."""
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            raise LearnerGone

    def _take_newest(self, wait_ms: int = 0) -> bool:
        newest = self.line.newest_weights(wait_ms)
        if newest is None:
            return False
        self.header, self.weights = newest
        if self.header.stop:
            raise LearnerGone
        load_flat_weights(self.actor, torch.from_numpy(self.weights.copy()))
        return True

    def drive(self, *, train: bool) -> EpisodeReport:
        """Drive one episode: with noise, the newest weights and experience shipped, or as a test of fixed weights."""
        began, steps, total, chunk = time.monotonic(), 0, 0.0, Transitions()
        self.episode, start_m = self.header.episodes, self.put_back_m if train else 0.0
        obs, info = self.env.reset(options={"distance_m": start_m})
        mirrored = self.env.mirrored()
        over = False
        while not over:
            action = self.act(obs, train)
            next_obs, reward, terminated, truncated, info = self.env.step(action)
            over = terminated or truncated
            steps, total = steps + 1, total + float(reward)
            if train:
                executed, next_mirrored = info["executed"], self.env.mirrored()
                chunk.add(obs, executed, float(reward), terminated, next_obs)
                chunk.add(mirrored, executed * MIRROR_ACTION, float(reward), terminated, next_mirrored)
                chunk = self._ship(chunk, over)
                mirrored = next_mirrored
                self._take_newest()
            else:
                self.line.deliver()
            obs = next_obs
        if train:
            self.put_back_m = 0.0 if info["finished"] else float(info["distance_m"])
        return EpisodeReport(
            actor=self.line.actor,
            episode=self.episode,
            kind="train" if train else "test",
            steps=steps,
            distance_m=float(info["distance_m"]) - start_m,
            reward=total,
            disengagement=info["disengagement"],
            finished=bool(info["finished"]),
            version=self.header.version,
            wall_s=time.monotonic() - began,
        )

    def act(self, obs: np.ndarray, explore: bool) -> np.ndarray:
        """μ(s), plus noise while exploring; (2,) float32 in [-1, 1]."""
        with torch.inference_mode():
            action = self.actor(torch.from_numpy(obs)[None])[0].numpy()
        return np.clip(action + self.noise(), -1, 1).astype(np.float32) if explore else action

    def _ship(self, chunk: Transitions, over: bool) -> Transitions:
        if not over and len(chunk) < CHUNK:
            return chunk
        self._insist_on_learner()
        header = Experience(episode=self.episode, first=self.transitions, actor=self.line.actor)
        self.line.send(header, *chunk.arrays())
        self.transitions += len(chunk)
        return Transitions()
