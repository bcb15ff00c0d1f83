"""The learner stores what arrives, learns as much as it is worth, and publishes what it has become."""

from pkgutil import resolve_name

import msgspec
import numpy as np
import pytest
import torch

from agent.algorithms import ALGORITHMS, CONFIGS
from agent.checkpoint import flat_weights
from agent.line.channel import LearnerEnd
from agent.line.delivery import Inbox
from agent.line.loopback import Loopback
from agent.replay.prioritized import PrioritizedReplay
from agent.replay.uniform import Replay
from agent.snapshot import learner_tensors, load_newest
from agent.training.learner import DivergedError, Learner
from agent.training.ratio import Ratio
from deploy.wire import Begin, EpisodeReport, Experience, Undo, Weights


class Line(LearnerEnd):
    """A line on which the given messages arrive one by one, and that remembers what was published."""

    def __init__(self, *messages: tuple):
        self.malformed, self.dropped = 0, {}
        self.messages = list(messages)
        self.published: list[tuple[Weights, np.ndarray]] = []
        self.held = False

    def receive(self, wait_ms: int = 0):
        if self.messages:
            message, *arrays = self.messages.pop(0)
            yield message, arrays

    def publish(self, header: Weights, weights: np.ndarray) -> None:
        self.published.append((header, weights.copy()))


def experience(ends: str) -> tuple:
    """Transitions that go on (.), terminate (x) or are cut off by the clock (t)."""
    n = len(ends)
    obs = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    terminated = np.array([end == "x" for end in ends])
    return Experience(episode=0, first=0, actor=0), obs, np.zeros((n, 1), np.float32), obs[:, 0], terminated, obs + 100


def report(kind: str, weights: np.ndarray | None = None) -> tuple:
    told = EpisodeReport(
        actor=0,
        car=0,
        episode=0,
        kind=kind,
        steps=1,
        distance_m=0.0,
        reward=0.0,
        disengagement=None,
        finished=False,
        version=1,
        wall_s=0.0,
    )
    return (told,) if weights is None else (told, weights)


def flat_size(algorithm) -> int:
    return len(flat_weights(algorithm.policy))


def make(line: Line, ratio: Ratio, algo: str = "ddpg") -> Learner:
    torch.manual_seed(0)
    replay = Replay(100, 2, 1, torch.Generator().manual_seed(0))
    config = resolve_name(CONFIGS[algo])(hidden=(8,), batch_size=4, gamma=0.75)
    return Learner(resolve_name(ALGORITHMS[algo])(config, 2, 1), replay, ratio, line)


def until_a_test(told: EpisodeReport, weights: np.ndarray | None) -> bool:
    return told.kind == "test"


def test_the_discount_is_zero_on_termination_and_gamma_on_a_time_out():
    learner = make(Line(experience("..t"), experience("..x"), report("test")), Ratio(0, 0))
    learner.run(until_a_test)
    batch = learner.replay.sample(500).batch
    assert len(learner.replay) == 6
    assert torch.all(batch.next_obs == batch.obs + 100)
    found = {
        (next_obs.item() - 100, discount.item())
        for next_obs, discount in zip(batch.next_obs[:, 0], batch.discount, strict=True)
    }
    assert found == {(0.0, 0.75), (2.0, 0.75), (4.0, 0.75), (4.0, 0.0)}


def test_it_makes_the_updates_that_are_due_and_no_more():
    quiet = [report("train")] * 2
    line = Line(experience("...."), *quiet)
    learner = make(line, Ratio(per_episode=5, per_step=0.5))

    def enough(told: EpisodeReport, weights: np.ndarray | None) -> bool:
        return learner.episodes == 3

    turns = iter(range(60))

    def receive(wait_ms: int = 0):
        yield from Line.receive(line, wait_ms)
        if next(turns) == 50:
            yield report("train")[0], []

    line.receive = receive
    learner.run(enough)
    assert learner.episodes == 3
    assert learner.updates == 12  # 2 episodes · 5 + 4 steps · 0.5; the third episode ended the run


def test_an_idle_learner_publishes_the_weights_it_has():
    line = Line(experience(".."), report("train"), report("test"))
    learner = make(line, Ratio(per_episode=0, per_step=0))
    untrained = flat_weights(learner.algorithm.actor).numpy().copy()
    learner.run(until_a_test)
    versions = [header.version for header, _ in line.published]
    assert versions == sorted(set(versions))
    assert len(versions) >= 2
    assert all(np.array_equal(weights, untrained) for _, weights in line.published)
    assert not any(header.stop for header, _ in line.published)
    assert (line.published[-1][0].transitions, line.published[-1][0].episodes) == (2, 1)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_what_is_published_is_what_it_has_learned(algo):
    line = Line(experience("...."), *[report("train")] * 40, report("test"))
    learner = make(line, Ratio(per_episode=1, per_step=0), algo)
    learner.run(until_a_test)
    learner.publish()
    header, weights = line.published[-1]
    assert header.updates == learner.updates > 20
    assert np.array_equal(weights, flat_weights(learner.algorithm.policy).numpy())
    assert not np.array_equal(weights, line.published[0][1])


def test_the_judge_is_given_the_weights_that_drove():
    line, judged = Line(), []
    learner = make(line, Ratio(0, 0))
    drove = np.arange(flat_size(learner.algorithm), dtype=np.float32)
    line.messages = [report("train"), report("test", drove)]

    def judge(told: EpisodeReport, weights: np.ndarray | None) -> bool:
        judged.append((told.kind, weights))
        return told.kind == "test"

    learner.run(judge)
    (first, none), (second, weights) = judged
    assert (first, none, second) == ("train", None, "test")
    assert np.array_equal(weights, drove)


def test_stop_is_published():
    line = Line()
    make(line, Ratio()).stop()
    assert [header.stop for header, _ in line.published] == [True]


def test_the_replay_keeps_its_own_copy_of_what_came():
    first, *arrays = experience("..")
    learner = make(Line((first, *arrays), report("test")), Ratio(0, 0))
    learner.run(until_a_test)
    for array in arrays:
        array[:] = 0
    assert learner.replay.sample(50).batch.next_obs.min().item() == pytest.approx(100)


@pytest.mark.parametrize(("band", "due"), [(0, 5), (2, 3), (9, 0)])
def test_drivers_wait_for_the_updates_that_are_due_beyond_the_band(band, due):
    line = Line()
    learner = make(line, Ratio(per_episode=0, per_step=1, band=band))
    learner.transitions = 5
    learner.publish()
    assert line.published[-1][0].due == due


def test_a_turn_makes_all_updates_of_all_that_came_and_publishes_them():
    line = Loopback()
    learner = make(line, Ratio(per_episode=5, per_step=0.5))
    for message, *arrays in (experience("...."), report("train"), experience("..x"), report("train")):
        line.send(message, *arrays)
    assert line.newest_weights() is None
    assert line.arrived < line.sent
    assert not learner.take_turn(until_a_test)
    assert learner.updates == 2 * 5 + 7 // 2
    assert line.arrived == line.sent == 4
    header, weights = line.newest_weights()
    assert (header.due, header.updates, header.stop) == (0, 13, False)
    assert np.array_equal(weights, flat_weights(learner.algorithm.policy).numpy())


def test_a_turn_that_ends_training_says_so():
    line = Loopback()
    learner = make(line, Ratio(per_episode=5))
    line.send(*report("test"))
    line.turn = lambda: learner.take_turn(until_a_test)
    header, _ = line.newest_weights(wait_ms=1)
    assert header.stop


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_learner_goes_on_where_it_was_saved_but_for_the_versions(algo, tmp_path):
    line = Loopback()
    learner = make(line, Ratio(per_episode=1), algo)
    for message, *arrays in (experience("...."), report("train")):
        line.send(message, *arrays)
    learner.take_turn(until_a_test)
    learner.save(tmp_path, {})
    later = make(Loopback(), Ratio(per_episode=1), algo)
    later.restore(load_newest(tmp_path, warn=pytest.fail))
    for one in (learner, later):
        for message, *arrays in (experience("..x"), report("train")):
            one.line.send(message, *arrays)
        one.take_turn(until_a_test)
    assert (later.updates, later.transitions, later.episodes) == (2, 7, 2)
    assert np.array_equal(flat_weights(learner.algorithm.policy), flat_weights(later.algorithm.policy))
    assert later.version > learner.version + 1000  # whatever an actor has seen since the checkpoint


def damaged(index: int, array: np.ndarray) -> tuple:
    """An experience of two transitions, one of whose arrays is another one."""
    message, *arrays = experience("..")
    arrays[index] = array
    return message, *arrays


@pytest.mark.parametrize(
    "message",
    [
        damaged(0, np.zeros((2, 3), np.float32)),
        damaged(1, np.zeros((3, 1), np.float32)),
        damaged(2, np.zeros(2, np.int64)),
        damaged(2, np.zeros((), np.float32)),
        damaged(3, np.zeros(2, np.float32)),
        damaged(4, np.full((2, 2), np.nan, np.float32)),
        (experience("..")[0], *(array[0] for array in experience("..")[1:])),
        experience("..")[:-1],
        experience("..")[:1],
        report("test", np.zeros(3, np.float32)),
        (msgspec.structs.replace(report("train")[0], distance_m=float("nan")),),
    ],
    ids=["obs", "length", "dtype", "number", "flag", "not finite", "no batch", "too few", "none", "weights", "report"],
)
def test_what_does_not_fit_is_counted_and_dropped(message):
    line = Line(message, experience(".."), report("test"))
    learner = make(line, Ratio(0, 0))
    learner.run(until_a_test)
    assert line.malformed == 1
    assert (learner.transitions, learner.episodes, len(learner.replay)) == (2, 0, 2)


def test_weights_that_are_no_numbers_are_never_published():
    line = Line()
    learner = make(line, Ratio(0, 0))
    with torch.no_grad():
        next(learner.algorithm.policy.parameters()).fill_(torch.nan)
    with pytest.raises(DivergedError, match="not finite after 0 updates") as caught:
        learner.publish()
    assert caught.value.exit_code == 2
    assert line.published == []


# -- undo


def lived(seed: int, steps: int) -> tuple:
    """An episode of its own, which terminates."""
    rng = np.random.default_rng(seed)
    obs, next_obs = rng.normal(size=(2, steps, 2)).astype(np.float32)
    action, reward = rng.uniform(-1, 1, (steps, 1)).astype(np.float32), rng.normal(size=steps).astype(np.float32)
    return Experience(episode=seed, first=0, actor=0), obs, action, reward, np.arange(steps) == steps - 1, next_obs


class EndOfStreamError(Exception):
    """All that was to come has come, and been learned from."""


def learn(kind: type[Replay], algo: str, *messages: tuple, hurried: bool = False) -> Learner:
    """A learner that has had these messages and made all updates that are due, after each.

    hurried: after a Begin, the next message comes whether or not updates are due.
    """
    torch.manual_seed(1)
    line = Line(*messages)
    line.inbox = Inbox()
    config = resolve_name(CONFIGS[algo])(hidden=(8,), batch_size=4, gamma=0.75)
    algorithm = resolve_name(ALGORITHMS[algo])(config, 2, 1)
    learner = Learner(algorithm, kind(20, 2, 1, torch.Generator().manual_seed(2)), Ratio(5, 1), line)

    begun = False

    def turn(message: Begin | Undo) -> None:
        nonlocal begun
        begun = True
        learner.remember({}) if isinstance(message, Begin) else learner.undo()

    def watch() -> None:
        busy = learner.due > 0
        line.held = busy and not (hurried and begun)
        if not line.messages and not busy:
            raise EndOfStreamError

    receive = line.receive
    line.receive = lambda wait_ms=0: iter(()) if line.held else receive(wait_ms)
    with pytest.raises(EndOfStreamError):
        learner.run(lambda told, weights: False, watch, turn)
    return learner


def everything(learner: Learner) -> dict[str, torch.Tensor]:
    """All that learning changes, but the count of versions."""
    counters = {name: torch.tensor(getattr(learner, name)) for name in ("updates", "transitions", "episodes")}
    return learner_tensors(learner.algorithm) | learner.replay.state() | counters


@pytest.mark.parametrize("kind", [Replay, PrioritizedReplay])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_undo_is_exact_and_so_is_all_that_is_learned_afterwards(algo, kind):
    begin, undo = (Begin(actor=0, episode=1),), (Undo(actor=0),)
    first, spoilt, then = ([lived(seed, 12), report("train")] for seed in (1, 2, 3))  # the replay holds 20
    before = learn(kind, algo, *first)
    undone = learn(kind, algo, *first, begin, *spoilt, undo)
    spoilt_too = learn(kind, algo, *first, begin, *spoilt)
    assert undone.line.published[-1][0].version > before.line.published[-1][0].version
    assert before.updates == 17  # 5 for the episode, 12 for its steps
    assert spoilt_too.updates == 34
    for name, tensor in everything(before).items():
        assert torch.equal(everything(undone)[name], tensor), name
    never, after = learn(kind, algo, *first, *then), learn(kind, algo, *first, begin, *spoilt, undo, *then)
    for name, tensor in everything(never).items():
        assert torch.equal(everything(after)[name], tensor), name
    assert not torch.equal(flat_weights(spoilt_too.algorithm.policy), flat_weights(before.algorithm.policy))


def test_an_undo_that_comes_while_updates_are_due_is_exact_too():
    first, spoilt = ([lived(seed, 12), report("train")] for seed in (1, 2))
    before = learn(Replay, "ddpg", *first)
    undone = learn(Replay, "ddpg", *first, (Begin(actor=0, episode=1),), *spoilt, (Undo(actor=0),), hurried=True)
    for name, tensor in everything(before).items():
        assert torch.equal(everything(undone)[name], tensor), name


def test_after_an_undo_the_weights_from_before_are_published_under_a_new_version():
    first, spoilt = ([lived(seed, 12), report("train")] for seed in (1, 2))
    learner = learn(Replay, "ddpg", *first, (Begin(actor=0, episode=1),), *spoilt, (Undo(actor=0),))
    learner.publish()
    header, weights = learner.line.published[-1]
    versions = [header.version for header, _ in learner.line.published]
    assert versions == sorted(set(versions))
    assert (header.updates, header.transitions, header.episodes) == (17, 12, 1)
    assert np.array_equal(weights, flat_weights(learn(Replay, "ddpg", *first).algorithm.policy).numpy())


def test_what_has_arrived_stays_known_after_an_undo():
    learner = learn(Replay, "ddpg", (Begin(actor=0, episode=0),))
    learner.line.inbox.before[7] = 9  # came since
    learner.undo()
    assert learner.line.inbox.before == {7: 9}


def test_there_is_one_thing_to_undo_and_then_nothing():
    learner = learn(Replay, "ddpg", lived(1, 12))
    assert learner.undo() is None
    learner.remember({"episode": 4})
    remembered = learner.undo()
    assert remembered is not None
    assert remembered["episode"] == 4
    assert learner.undo() is None
    assert learner.updates == 12
