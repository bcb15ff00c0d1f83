"""The driver: drives episodes with the newest weights and ships what its cars live through to the learner."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import nn

from agent.actors.fleet import Fleet, Step
from agent.checkpoint import load_flat_weights
from agent.latent import MIRROR_ACTION
from agent.line.channel import ActorEnd
from agent.line.experience import Transitions
from agent.line.loopback import Loopback
from agent.noise import OrnsteinUhlenbeck
from deploy.wire import EpisodeReport, Experience, Weights

CHUNK = 128  # transitions in a message: 64 steps, as lived and mirrored; the learner pays by the message
PATIENCE_MS = 200  # between two heartbeats of a driver that waits

Kind = Literal["train", "test"]


class LearnerGone(Exception):
    """The learner has said that training is over."""


@dataclass
class Ride:
    """An episode that a car is in the midst of."""

    kind: Kind
    episode: int  # training episodes that all cars had driven when it began
    start_m: float
    version: int  # of the weights that it began with
    began: float = field(default_factory=time.monotonic)
    steps: int = 0
    reward: float = 0.0
    chunk: Transitions = field(default_factory=Transitions)


@dataclass
class Car:
    """One car of the fleet, where it stands between two episodes, and what it saw last."""

    number: int
    noise: OrnsteinUhlenbeck
    tests: bool  # after each of its training episodes
    next: Kind = "train"
    put_back_m: float = 0.0  # where the next training episode starts
    sent: int | None = 0  # messages that the learner must have before the next episode; None = it has them
    version: int = 0  # of the weights when it had them: later ones have learned from them
    ride: Ride | None = None
    obs: np.ndarray = field(default_factory=lambda: np.empty(0))
    mirrored: np.ndarray = field(default_factory=lambda: np.empty(0))


class Driver:
    """Drives whole episodes with all cars of a fleet and one actor network; the first car of the first actor tests.

    A test starts at the start of the route; a training episode where the car left the lane in the last one and was put
    back, so that all of the route is learned from the first episodes on, as on a real road; where every episode has a
    road of its own, at its start. Every transition is shipped twice, as lived and mirrored: what is right in a left
    bend is right in a right bend the other way round. Cars train with the newest weights there are, a test is driven to
    its end with those it began with.
    """

    def __init__(
        self,
        fleet: Fleet,
        actor: nn.Module,
        noises: Sequence[OrnsteinUhlenbeck],
        line: ActorEnd | Loopback,
        beat: Callable[[], None] = lambda: None,
        one_road: bool = True,
    ) -> None:
        self.fleet, self.actor, self.line, self.beat, self.one_road = fleet, actor, line, beat, one_road
        self.judged = deepcopy(actor)  # drives tests
        self.cars = [Car(i, noise, tests=i == line.actor == 0) for i, noise in enumerate(noises)]
        self.header = Weights(version=0, updates=0, transitions=0, episodes=0, due=0, stop=False)  # until some arrive
        self.weights = np.zeros(0, np.float32)
        self.judged_weights = self.weights
        self.transitions = 0  # shipped

    def run(self) -> None:
        """Drive until the learner says stop. Raises LearnerGone then, and whatever `beat` raises."""
        while True:
            for car in self.cars:
                if car.ride is None and self._caught_up(car):
                    self.begin(car)
            driving = [car for car in self.cars if car.ride]
            if driving:
                self.drive(driving)
            self.take_newest(wait_ms=0 if driving else PATIENCE_MS)
            self.beat()

    def begin(self, car: Car) -> None:
        """Put a car at the start of its next episode."""
        start_m = car.put_back_m if car.next == "train" else 0.0
        car.ride = Ride(car.next, self.header.episodes, start_m, self.header.version)
        car.noise.reset(self.header.episodes)
        if car.next == "test":
            self.judged.load_state_dict(self.actor.state_dict())
            self.judged_weights = self.weights
        self.fleet.begin(car.number, start_m)
        (car.obs,), (car.mirrored,) = self.fleet.see([car.number], [car.number])

    def drive(self, cars: Sequence[Car]) -> None:
        """Drive all of these, each in the midst of an episode, for one control period."""
        actions = self.act(cars)
        steps = [self.fleet.step(car.number, action) for car, action in zip(cars, actions, strict=True)]
        training = [car for car in cars if car.ride and car.ride.kind == "train"]
        seen, mirrored = self.fleet.see([car.number for car in cars], [car.number for car in training])
        flipped = dict(zip((car.number for car in training), mirrored, strict=True))
        for car, step, obs in zip(cars, steps, seen, strict=True):
            self._note(car, step, obs, flipped.get(car.number, obs))

    def act(self, cars: Sequence[Car]) -> np.ndarray:
        """μ(s) for every car, plus its noise where it trains; (cars, 2) float32 in [-1, 1]."""
        obs = torch.from_numpy(np.stack([car.obs for car in cars]))
        with torch.inference_mode():
            actions = self.actor(obs).numpy()
            for i, car in enumerate(cars):
                assert car.ride
                if car.ride.kind == "test":
                    actions[i] = self.judged(obs[i : i + 1])[0].numpy()
                else:
                    actions[i] += car.noise()
        return np.clip(actions, -1, 1)

    def take_newest(self, wait_ms: int = 0) -> None:
        """Drive by the newest weights from now on, if there are new ones. Raises LearnerGone at the end of training."""
        newest = self.line.newest_weights(wait_ms)
        if newest is None:
            return
        self.header, self.weights = newest
        if self.header.stop:
            raise LearnerGone
        load_flat_weights(self.actor, torch.from_numpy(self.weights.copy()))

    def _caught_up(self, car: Car) -> bool:
        """True once the learner has had all that came of a car's last episode, and made the updates that are due."""
        if car.sent is not None and self.line.arrived >= car.sent:
            car.sent, car.version = None, self.line.version
        return car.sent is None and self.header.version > car.version and self.header.due == 0

    def _note(self, car: Car, step: Step, obs: np.ndarray, mirrored: np.ndarray) -> None:
        """Count a step that a car has made, ship it, and report the episode if it is over."""
        ride = car.ride
        assert ride
        ride.steps, ride.reward = ride.steps + 1, ride.reward + step.reward
        over = step.terminated or step.truncated
        if ride.kind == "train":
            outcome = step.reward, step.terminated
            ride.chunk.add(car.obs, step.executed, *outcome, obs)
            ride.chunk.add(car.mirrored, step.executed * MIRROR_ACTION, *outcome, mirrored)
            if over or len(ride.chunk) >= CHUNK:
                self._ship(ride)
        car.obs, car.mirrored = obs, mirrored
        if over:
            self._end(car, ride, step)

    def _ship(self, ride: Ride) -> None:
        header = Experience(episode=ride.episode, first=self.transitions, actor=self.line.actor)
        self.line.send(header, *ride.chunk.arrays())
        self.transitions += len(ride.chunk)
        ride.chunk = Transitions()

    def _end(self, car: Car, ride: Ride, step: Step) -> None:
        """Report an episode; a test with the weights that drove it."""
        distance_m, finished = float(step.info["distance_m"]), bool(step.info["finished"])
        report = EpisodeReport(
            actor=self.line.actor,
            car=car.number,
            episode=ride.episode,
            kind=ride.kind,
            steps=ride.steps,
            distance_m=distance_m - ride.start_m,
            reward=ride.reward,
            disengagement=step.info["disengagement"],
            finished=finished,
            version=ride.version if ride.kind == "test" else self.header.version,
            wall_s=time.monotonic() - ride.began,
        )
        self.line.send(report, *([self.judged_weights] if ride.kind == "test" else []))
        car.ride, car.sent = None, self.line.sent
        if ride.kind == "train":
            car.put_back_m = distance_m if self.one_road and not finished else 0.0
        car.next = "test" if car.tests and ride.kind == "train" else "train"
