"""What every crew promises: its actors drive, are started anew when they die or freeze, and end with it."""

import gc
import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
import zmq

from agent.actors.orders import Orders
from agent.checkpoint import flat_weights, make_actor
from agent.crews import CREWS, load_crew, ray_actors
from agent.launchers.attempt import LaunchError
from agent.line.channel import LearnerEnd
from agent.line.rendezvous import rendezvous
from agent.training.config import TrainConfig
from agent.training.supervisor import ProcessError, Supervisor
from deploy.wire import Weights
from tests.agent.fakes import FACTS
from tests.agent.processes import commands, descendants
from tests.agent.runs import write_encoder

ACTORS = 2


class School:
    """A learner that never learns, with a crew and all that supervises it."""

    def __init__(self, line: LearnerEnd, crew, supervisor: Supervisor, told: list[str]) -> None:
        self.line, self.crew, self.supervisor, self.told = line, crew, supervisor, told
        self.weights = flat_weights(make_actor(FACTS)).numpy()
        self.version, self.called_at_s = 0, time.monotonic()
        self.shipped: list[int] = []  # actors, a number for each message

    def teach(self) -> None:
        """Take what has come, publish, and look after the actors: a moment of a run."""
        self.shipped += [message.actor for message, _ in self.line.receive(20)]
        self.version += 1
        header = Weights(version=self.version, updates=0, transitions=0, episodes=0, due=0, stop=False)
        self.line.publish(header, self.weights)
        self.supervisor.watch()
        now_s = time.monotonic()
        if now_s - self.called_at_s > 1:
            heard = frozenset(actor for actor, at_s in self.line.heard_at_s.items() if at_s > self.called_at_s)
            self.called_at_s = now_s
            self.crew.watch(heard)

    def until_told(self, text: str) -> int:
        """Teach until a line says that; returns the number of the actor that it speaks of."""
        told: list[str] = []
        while not told:
            self.teach()
            told = [line for line in self.told if text in line]
        self.told.clear()
        return int(told[0].split()[1])

    def until_driven_by(self, *actors: int) -> None:
        """Teach until each of them has shipped something from now on."""
        self.shipped.clear()
        while not set(self.shipped) >= set(actors):
            self.teach()


def drivers() -> set[int]:
    """Pids of the actors that drive."""
    names = commands(descendants(os.getpid()))
    return {pid for pid, name in names.items() if name.startswith("ray::Seat.drive") or "spawn_main" in name}


@contextmanager
def schooling(name: str, graph: bytes) -> Iterator[School]:
    """A crew of that name at work, with that encoder."""
    config = TrainConfig(actors=ACTORS, length_m=12.0)
    told: list[str] = []
    with (
        load_crew(name)(ACTORS, None) as crew,
        rendezvous(None, None, crew.host) as met,
        zmq.Context() as context,
        closing(LearnerEnd(context, met.learner, met.learner_keys)) as line,
    ):
        jobs = crew.start(Orders(config, FACTS, graph, met.actors, met.actor_keys), told.append)
        with Supervisor([replace(job, silence_s=3.0) for job in jobs], told.append) as supervisor:
            yield School(line, crew, supervisor, told)
            pids = drivers()
            for worker in supervisor.workers:  # nobody tells them that training is over
                worker.process.kill()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # Ray drops its daemons, which have ended, without having waited for them
    assert not commands(pids)


@pytest.mark.parametrize("name", CREWS)
@pytest.mark.slow
def test_an_actor_that_dies_or_freezes_is_started_anew_and_the_others_drive_on(name, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_actors, "SILENCE", 3)
    graph = write_encoder(tmp_path / "vae.safetensors").with_suffix(".onnx").read_bytes()
    with schooling(name, graph) as school:
        school.until_driven_by(*range(ACTORS))
        assert len(drivers()) == ACTORS
        for number, said in ((signal.SIGKILL, "died"), (signal.SIGSTOP, "fell silent")):
            victim = min(drivers())
            os.kill(victim, number)
            actor = school.until_told(f"{said} and is started anew")
            school.until_driven_by(actor)
            assert victim not in drivers()
            assert len(drivers()) == ACTORS
        assert school.told == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CREWS)
def test_actors_that_cannot_drive_at_all_end_the_run(name):
    with schooling(name, b"no encoder") as school, pytest.raises((ProcessError, LaunchError)) as error:
        school.until_told("never")
    assert "actor" in str(error.value)
    assert error.value.exit_code == 2
    assert school.told
