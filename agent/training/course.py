"""What a run does with the episodes that end: counts them, notes them, keeps the best policy, saves itself."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import numpy as np
import torch

from agent.checkpoint import (
    PolicyFacts,
    Worth,
    flat_weights,
    load_flat_weights,
    make_actor,
    save_actor,
    vae_of,
)
from agent.replay.frames import FrameReplay
from agent.results.metrics import Curves, Table
from agent.snapshot import CHECKPOINTS, Snapshot
from agent.training.config import TrainConfig
from agent.training.learner import Algorithm, Learner
from deploy.wire import EpisodeReport
from perception.encoders import save_encoder
from perception.measures import errors, familiar_by

FAMILIAR = 1000  # newest frames of the replay that tell what an encoder learned online is used to


class Face(NamedTuple):
    """Where a run shows itself."""

    say: Callable[[str], None]  # prints a line, which stays
    show: Callable[[str], None]  # says what goes on now


@dataclass
class Progress:
    """What training has come to, and when it may stop."""

    passes_wanted: int
    max_episodes: int
    passes: int = 0
    fruitless: int = 0  # tests since the last that drove the whole route, or since the networks started anew
    best_m: float = -1.0
    trained: int = 0  # episodes
    trained_m: float | None = None  # in the latest of the car that tests
    tests: list[EpisodeReport] = field(default_factory=list)

    def add(self, report: EpisodeReport) -> bool:
        """Count an episode; return True when it is a test that no earlier one outdid."""
        if report.kind == "train":
            self.trained += 1
            if (report.actor, report.car) == (0, 0):
                self.trained_m = report.distance_m
            return False
        self.tests.append(report)
        self.passes = self.passes + 1 if report.finished else 0
        self.fruitless = 0 if report.finished else self.fruitless + 1
        best = report.distance_m >= self.best_m or report.finished
        self.best_m = max(self.best_m, report.distance_m)
        return best

    @property
    def solved(self) -> bool:
        """True once enough tests in a row drove the whole route."""
        return self.passes >= self.passes_wanted

    @property
    def over(self) -> bool:
        """True when training ends, solved or not."""
        return self.solved or len(self.tests) >= self.max_episodes

    def goes_on(self, config: TrainConfig) -> "Progress":
        """The same for a run that is resumed, maybe for more."""
        return replace(self, passes_wanted=config.passes, max_episodes=config.max_episodes)


class Course:
    """The judge of a learner's episodes; writes episodes.csv, actor.safetensors, tensorboard/ and checkpoints/."""

    def __init__(
        self,
        config: TrainConfig,
        facts: PolicyFacts,
        learner: Learner,
        progress: Progress,
        new_algorithm: Callable[[], Algorithm],
        face: Face,
    ) -> None:
        self.config, self.facts, self.learner, self.progress = config, facts, learner, progress
        self.new_algorithm, self.face = new_algorithm, face
        self._best = make_actor(facts)
        self._saved_at = learner.updates
        names = [*EpisodeReport.__struct_fields__, "updates", "seconds"]
        self._table = Table(config.out / "episodes.csv", names, "updates", learner.updates)
        self._curves = Curves(config.out / "tensorboard", learner.updates)

    def __enter__(self) -> Self:
        self._curves.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._curves.__exit__(kind, error, at)
        self._table.close()

    def judge(self, report: EpisodeReport, weights: np.ndarray | None) -> bool:
        """Take note of an episode, with the weights that drove it if it was a test; True when training is over."""
        learner, progress = self.learner, self.progress
        if progress.add(report) and weights is not None:
            load_flat_weights(self._best, torch.from_numpy(weights.copy()))
            self._save_best()
        self._table.write([*msgspec.structs.astuple(report), learner.updates, round(learner.seconds, 2)])
        self._log(report)
        self._tell(report)
        if progress.fruitless == self.config.restart_after:
            self.face.say("no whole route for long: the networks start anew, the replay stays")
            learner.algorithm, progress.fruitless = self.new_algorithm(), 0
        if learner.updates - self._saved_at >= self.config.checkpoint_every:
            self.save()
        return progress.over

    def _save_best(self) -> None:
        """Write the best policy, and by what it has learned to see once more on its own, for probes and other runs."""
        algorithm, replay = self.learner.algorithm, self.learner.replay
        worth = Worth(algorithm.config, flat_weights(algorithm.value))
        save_actor(self.config.out / "actor.safetensors", self._best, self.facts, worth)
        if self.facts.vae and isinstance(replay, FrameReplay):
            vae = vae_of(self._best)
            save_encoder(self.config.out / "vae.safetensors", vae, familiar_by(errors(vae, replay.latest(FAMILIAR))))

    def save(self) -> None:
        """Write a checkpoint; where that fails training goes on, with a warning."""
        self._saved_at = self.learner.updates
        try:
            self.learner.save(self.config.out / CHECKPOINTS, {"progress": msgspec.to_builtins(self.progress)})
        except OSError as error:
            self.face.say(f"[bold red]no checkpoint was written ({error}); training goes on[/]")

    def _log(self, report: EpisodeReport) -> None:
        """Add an episode to the curves, and where the learner stands; staleness is in versions of the weights."""
        learner = self.learner
        staleness = learner.version - max(report.version, learner.first_version)
        episode = {"return": report.reward, "length": report.steps, "distance_m": report.distance_m}
        self._curves.add(report.kind, episode | {"weight_staleness": staleness}, learner.updates)
        self._curves.add("learner", learner.scalars(), learner.updates)

    def _tell(self, report: EpisodeReport) -> None:
        """Say what each test has come to, with the training before it, and what the learner is doing now."""
        learner, progress = self.learner, self.progress
        self.face.show(
            f"episode {progress.trained}: {learner.updates} updates ({learner.updates / learner.seconds:.0f}/s), "
            f"{learner.transitions} transitions"
        )
        if report.kind == "train":
            return
        trained_m = "    –" if progress.trained_m is None else f"{progress.trained_m:5.1f}"
        result = "whole route" if report.finished else report.disengagement or "out of time"
        self.face.say(
            f"episode {progress.trained:3d}  trained {trained_m} m  "
            f"test {report.distance_m:5.1f} m at {report.distance_m / max(report.steps, 1) * 36:4.1f} km/h  "
            f"[{'green' if report.finished else 'yellow'}]{result}[/]  "
            f"{learner.updates} updates  {learner.seconds:.0f} s"
        )


def begin(config: TrainConfig, snapshot: Snapshot | None) -> Progress:
    """What a run has come to when it begins, or goes on from a snapshot."""
    if snapshot is None:
        return Progress(config.passes, config.max_episodes)
    return msgspec.convert(snapshot.facts["progress"], Progress).goes_on(config)
