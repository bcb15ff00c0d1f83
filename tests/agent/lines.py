"""What several tests of the line between actors and learner say and hear."""

import numpy as np

from agent.line.channel import ActorEnd, LearnerEnd
from deploy.wire import (
    EpisodeReport,
    Experience,
    Weights,
)

REPORT = EpisodeReport(
    actor=0,
    car=0,
    episode=3,
    kind="test",
    steps=7,
    distance_m=1.5,
    reward=1.25,
    disengagement=None,
    finished=True,
    version=4,
    wall_s=0.5,
)


def header(version: int) -> Weights:
    return Weights(version=version, updates=10 * version, transitions=2, episodes=1, due=0, stop=False)


def received(learner: LearnerEnd, count: int, *actors: ActorEnd) -> list:
    """What the learner gets until it is that much and these actors have receipts for all that they sent."""
    messages = []
    for _ in range(400):
        for actor in actors:
            actor.newest_weights()
        messages += learner.receive(wait_ms=20)
        learner.inbox.saved()
        if len(messages) >= count and not any(len(actor.outbox) for actor in actors):
            break
    return messages


def newest(learner: LearnerEnd, actor: ActorEnd, version: int) -> np.ndarray:
    """Publish, as the idle learner does, until the actor has these weights."""
    for _ in range(200):
        learner.publish(header(version), np.full(5, version, np.float32))
        found = actor.newest_weights(wait_ms=100)
        if found is not None and found[0] == header(version):
            return found[1]
    raise AssertionError("no weights came")


def serve(learner: LearnerEnd, actor: ActorEnd, version: int) -> None:
    """Experience goes up and weights come down, and nothing else arrives meanwhile."""
    message = Experience(episode=version, first=0, actor=actor.actor)
    assert actor.send(message, np.zeros((4, 6), np.float32))
    arrived = []
    while not arrived or actor.sent > actor.arrived:
        actor.deliver()
        arrived += [found for found, _ in learner.receive(wait_ms=20)]
    assert arrived == [message]
    assert newest(learner, actor, version).tolist() == [version] * 5
