"""Learning in one process: what a step stores and is worth, and that an interrupted run loses nothing."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from rich.console import Console

from agent.algorithms.d4pg import D4PGConfig
from agent.algorithms.ddpg import DDPGConfig
from agent.algorithms.td3 import TD3Config
from agent.noise import greedy
from agent.results.metrics import read_evaluations
from agent.settings import SettingsError
from agent.snapshot import Snapshot, SnapshotError, load_newest, snapshots
from agent.sync.config import resolved
from agent.sync.run import Run, seed_for
from agent.sync.tasks import TaskError, make_task
from agent.sync.train import SyncConfig, train_sync
from tests.agent.fakes import Strip

SMALL = SyncConfig(
    steps=120,
    episode_steps=20,
    start_steps=10,
    evaluate_every=40,
    evaluation_episodes=1,
    checkpoint_every=20,
    replay_capacity=80,  # so that it wraps
    ddpg=DDPGConfig(hidden=(8,), batch_size=4, actor_norm="layer", critic_norm="layer"),
    td3=TD3Config(hidden=(8,), batch_size=4, dropout=0.1),
    d4pg=D4PGConfig(hidden=(8,), batch_size=4, atoms=5),
)
QUIET = Console(quiet=True)


def last(out: Path) -> Snapshot:
    return load_newest(out / "checkpoints", lambda text: pytest.fail(text))


def assert_same(one: Path, other: Path) -> None:
    """Both runs came to the same, but for the time that they took."""
    a, b = last(one), last(other)
    assert (a.step, a.facts | {"seconds": 0}) == (b.step, b.facts | {"seconds": 0})
    for ours, theirs in ((a.tensors, b.tensors), (a.replay, b.replay)):
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert (one / "episodes.csv").read_text() == (other / "episodes.csv").read_text()
    assert untimed(one) == untimed(other)
    assert (one / "best.safetensors").stat().st_size == (other / "best.safetensors").stat().st_size


def untimed(out: Path) -> list:
    return [replace(evaluation, seconds=0.0) for evaluation in read_evaluations(out / "evaluations.csv")]


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Has something happen after that step."""

    def arrange(step: int, happen: Callable[[], None]) -> None:
        learn = Run.learn

        def learn_and(run: Run) -> None:
            learn(run)
            if run.steps == step:
                happen()

        monkeypatch.setattr(Run, "learn", learn_and)

    return arrange


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def once(death: BaseException) -> Callable[[], None]:
    """Raises it the first time."""
    deaths = iter([death])

    def die() -> None:
        for this in deaths:
            raise this

    return die


VARIANTS = [
    ("ddpg", "gaussian", {}),
    ("ddpg", "ou", {"n_step": 3}),
    ("ddpg", "parameter", {}),
    ("td3", "gaussian", {"prioritised": True}),
    ("td3", "none", {"update_ratio": 0.7}),
    ("d4pg", "gaussian", {"actors": 4}),
]


@pytest.mark.parametrize(("algo", "noise", "more"), VARIANTS)
def test_an_interrupted_run_goes_on_bit_by_bit(tmp_path, at_step, algo, noise, more):
    config = replace(SMALL, algo=algo, noise=noise, checkpoint_every=120, **more)  # else only Ctrl-C makes one
    train_sync(replace(config, out=tmp_path / "straight"), QUIET)
    at_step(50, ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        train_sync(replace(config, out=tmp_path / "broken"), QUIET)
    assert last(tmp_path / "broken").step == 60  # the end of the episode
    torch.manual_seed(99)  # whatever else the process does
    result = train_sync(replace(config, out=tmp_path / "broken", resume=True), QUIET)
    assert (result.steps, result.episodes) == (120, 6)
    assert_same(tmp_path / "straight", tmp_path / "broken")


def test_a_run_whose_end_is_moved_goes_on_bit_by_bit(tmp_path):
    config = replace(SMALL, episode_steps=50, checkpoint_every=150)
    train_sync(replace(config, out=tmp_path / "straight", steps=300), QUIET)
    train_sync(replace(config, out=tmp_path / "longer", steps=150), QUIET)
    train_sync(replace(config, out=tmp_path / "longer", steps=300, resume=True), QUIET)
    a, b = last(tmp_path / "straight"), last(tmp_path / "longer")
    assert all(torch.equal(tensor, b.tensors[name]) for name, tensor in a.tensors.items())


def test_a_killed_run_goes_on_from_its_last_sound_checkpoint(tmp_path, at_step):
    straight, broken = replace(SMALL, out=tmp_path / "straight"), replace(SMALL, out=tmp_path / "broken")
    train_sync(straight, QUIET)
    at_step(90, once(SystemExit()))
    with pytest.raises(SystemExit):
        train_sync(broken, QUIET)
    newest, before = snapshots(tmp_path / "broken" / "checkpoints")
    assert (newest.name, before.name) == ("step-000000080", "step-000000060")
    (newest / "run.json").write_text("{}")
    with (console := Console(width=200)).capture() as capture:
        train_sync(replace(broken, resume=True), console)
    assert "step-000000080: damaged" in capture.get()
    assert_same(tmp_path / "straight", tmp_path / "broken")


class Weary(Strip):
    """Tells how many episodes it has had, whatever its seed."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        obs, _, *rest = super().step(action)
        return obs, -float(self.episode), *rest


def test_an_environment_that_remembers_is_made_anew_with_every_checkpoint(tmp_path, at_step, monkeypatch):
    monkeypatch.setitem(
        gymnasium.registry, "Weary-v0", EnvSpec("Weary-v0", lambda: Weary(10), disable_env_checker=True)
    )
    config = replace(SMALL, env="Weary-v0", episode_steps=None, checkpoint_every=40)
    train_sync(replace(config, out=tmp_path / "straight"), QUIET)
    at_step(90, once(SystemExit()))
    with pytest.raises(SystemExit):
        train_sync(replace(config, out=tmp_path / "broken"), QUIET)
    train_sync(replace(config, out=tmp_path / "broken", resume=True), QUIET)
    assert_same(tmp_path / "straight", tmp_path / "broken")
    assert len(set(last(tmp_path / "straight").replay["rows"][:, 4].tolist())) == 4  # episodes between checkpoints


def test_a_second_ctrl_c_ends_at_once(tmp_path, at_step):
    def twice() -> None:
        ctrl_c()
        while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            pass  # two signals at the same time would count as one
        ctrl_c()

    at_step(50, twice)
    with pytest.raises(KeyboardInterrupt):
        train_sync(replace(SMALL, out=tmp_path), QUIET)
    assert last(tmp_path).step == 40
    assert not list(tmp_path.rglob("*.part"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_evaluation_leaves_no_trace_in_training(tmp_path):
    train_sync(replace(SMALL, out=tmp_path / "often", evaluate_every=10, evaluation_episodes=2), QUIET)
    train_sync(replace(SMALL, out=tmp_path / "once", evaluate_every=120), QUIET)
    a, b = last(tmp_path / "often"), last(tmp_path / "once")
    assert all(torch.equal(tensor, b.tensors[name]) for name, tensor in a.tensors.items())


def test_a_run_leaves_whole_files(tmp_path):
    result = train_sync(replace(SMALL, out=tmp_path / "run"), QUIET)
    assert sorted(path.name for path in result.out.iterdir()) == [
        "best.safetensors",
        "checkpoints",
        "config.json",
        "episodes.csv",
        "evaluations.csv",
        "last.safetensors",
        "tensorboard",
    ]
    assert [evaluation.step for evaluation in result.evaluations] == [40, 80, 120]
    assert all(
        -16.3 * 50 <= evaluation.mean <= 0 for evaluation in result.evaluations
    )  # Pendulum's reward is in [-16.3, 0]
    config = json.loads((result.out / "config.json").read_text())
    assert (config["n_step"], config["prioritised"], config["td3"]["hidden"]) == (1, False, [8])


def test_seeds_differ(tmp_path):
    for seed in (0, 1):
        train_sync(replace(SMALL, out=tmp_path / str(seed), seed=seed, steps=20), QUIET)
    assert not torch.equal(last(tmp_path / "0").replay["rows"], last(tmp_path / "1").replay["rows"])


# -- what a step stores and is worth


def drive(run: Run, steps: int) -> None:
    for _ in range(steps):
        run.step(run.act())
        run.learn()


@pytest.mark.parametrize(("ending", "discount"), [("truncated", 0.9), ("terminated", 0.0)])
def test_a_time_out_bootstraps_and_a_termination_does_not(ending, discount):
    run = Run(replace(SMALL, td3=TD3Config(hidden=(8,), gamma=0.9), start_steps=99), lambda: Strip(4, ending))
    drive(run, 8)
    rows = run.replay.state()["rows"]
    assert rows[:, -3].tolist() == pytest.approx([0.9, 0.9, 0.9, discount] * 2)
    assert rows[:, -2:].tolist() == [[episode, step] for episode in (0, 1) for step in (1, 2, 3, 4)]  # next_obs


def test_rewards_of_n_steps_are_added_up():
    run = Run(replace(SMALL, n_step=2, td3=TD3Config(hidden=(8,), gamma=0.5), start_steps=99), lambda: Strip(3))
    drive(run, 3)
    assert run.replay.state()["rows"][:, 4].tolist() == [1 + 2 / 2, 2 + 3 / 2, 3]
    assert run.replay.state()["rows"][:, 5].tolist() == [0.25, 0, 0]


@pytest.mark.parametrize(("ratio", "start", "updates"), [(1.0, 10, 20), (0.5, 10, 10), (2.0, 0, 60), (0.0, 0, 0)])
def test_updates_keep_to_their_ratio(ratio, start, updates):
    run = Run(replace(SMALL, update_ratio=ratio, start_steps=start), lambda: Strip(4))
    drive(run, 30)
    assert run.updates == updates


def test_it_starts_with_random_steps():
    run = Run(replace(SMALL, start_steps=30), lambda: Strip(100))
    drive(run, 30)
    env = run.env
    assert np.std(env.asked) == pytest.approx(1 / np.sqrt(3), rel=0.2)
    assert np.abs(env.asked).max() <= 1


def test_the_policy_is_evaluated_without_noise():
    run = Run(SMALL, lambda: Strip(4))
    evaluation, env = run.evaluate(), run.judge
    assert (evaluation.mean, evaluation.length) == (1 + 2 + 3 + 4, 4)
    assert all(
        (greedy(run.algorithm.policy, obs) == asked).all() for obs, asked in zip(env.seen, env.asked, strict=False)
    )


def test_priorities_count_fully_by_the_last_step():
    run = Run(replace(SMALL, prioritised=True, steps=40), lambda: Strip(4))
    drive(run, 20)
    assert run.replay.beta == pytest.approx(0.4 + 0.6 / 2)
    drive(run, 20)
    assert run.replay.beta == pytest.approx(1.0)


@pytest.mark.parametrize(("schedule", "half_way", "at_the_end"), [("constant", 1, 1), ("linear", 0.5, 0)])
def test_step_sizes_follow_their_schedule(schedule, half_way, at_the_end):
    settings = TD3Config(hidden=(8,), actor_lr=4e-3, critic_lr=2e-3)
    run = Run(replace(SMALL, lr_schedule=schedule, td3=settings, steps=40), lambda: Strip(4))
    for share in (half_way, at_the_end):
        drive(run, 20)
        assert run.algorithm.actor_optimizer.lr.item() == pytest.approx(4e-3 * share)
        assert run.algorithm.critic_optimizer.lr.item() == pytest.approx(2e-3 * share)


def test_a_seed_for_every_purpose():
    seeds = {seed_for(run, purpose, i) for run in range(5) for purpose in range(6) for i in range(5)}
    assert len(seeds) == 5 * 6 * 5


# -- defaults


def test_d4pg_has_what_its_paper_has_and_atoms_that_hold_the_returns():
    config = resolved(replace(SMALL, algo="d4pg", episode_steps=None), make_task("Pendulum-v1"))
    assert (config.n_step, config.prioritised) == (5, True)
    assert -1.5 * 16.3 * 100 < config.d4pg.v_min < -600  # hanging down is worth -9.9 a step, 100 steps ahead
    assert config.d4pg.v_max == 150
    assert resolved(replace(config, seed=5), make_task("Pendulum-v1")).d4pg == config.d4pg


def test_atoms_that_hold_the_returns_stay():
    assert resolved(replace(SMALL, algo="d4pg"), Strip(4)).d4pg == SMALL.d4pg


def test_the_folder_is_named_after_the_run():
    assert SyncConfig(env="dm_control/a:b-v0", algo="ddpg", seed=3).folder == Path("runs/dm_control-a-b-v0-ddpg-3")


# -- refusals


def refused(config: SyncConfig, said: str) -> None:
    with pytest.raises((SettingsError, SnapshotError, TaskError), match=said) as caught:
        train_sync(config, QUIET)
    assert caught.value.exit_code == 2


def test_a_run_is_not_overwritten(tmp_path):
    train_sync(replace(SMALL, out=tmp_path, steps=20), QUIET)
    refused(replace(SMALL, out=tmp_path), "--resume")


def test_a_run_is_not_resumed_as_another(tmp_path):
    train_sync(replace(SMALL, out=tmp_path, steps=20), QUIET)
    refused(replace(SMALL, out=tmp_path, resume=True, seed=1), "seed was 0, now it is 1")
    refused(replace(SMALL, out=tmp_path, resume=True, td3=TD3Config(gamma=0.5)), "td3 was")


def test_what_is_not_there_is_not_resumed(tmp_path):
    refused(replace(SMALL, out=tmp_path / "none", resume=True), "no such run")
    assert not (tmp_path / "none").exists()


def test_an_environment_that_cannot_be_learned_leaves_no_folder(tmp_path):
    refused(replace(SMALL, out=tmp_path / "none", env="CartPole-v1"), "Discrete")
    assert not (tmp_path / "none").exists()


def test_a_run_too_short_to_be_saved_is_not_overwritten_either(tmp_path):
    short = replace(SMALL, out=tmp_path, steps=20, checkpoint_every=1000)
    train_sync(short, QUIET)
    refused(short, "holds a run already; --out")


def test_a_longer_run_goes_on_as_it_was_begun_plain_or_compiled(tmp_path, monkeypatch):
    train_sync(replace(SMALL, out=tmp_path, steps=20), QUIET)
    monkeypatch.setattr("agent.sync.config.worthwhile", lambda updates: True)
    result = train_sync(replace(SMALL, out=tmp_path, steps=40, resume=True, compiled=None), QUIET)
    assert result.steps == 40
    assert json.loads((tmp_path / "config.json").read_bytes())["compiled"] is False


def test_a_run_is_not_compiled_without_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr("agent.compiled.shutil.which", lambda name: None)
    refused(replace(SMALL, out=tmp_path / "none", compiled=True), "no C\\+\\+ compiler")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("prioritised", [False, True])
def test_learning_that_diverges_is_said_in_one_line(tmp_path, prioritised):
    steep = TD3Config(hidden=(8,), batch_size=4, actor_lr=1e38, critic_lr=1e38)
    refused(replace(SMALL, out=tmp_path, td3=steep, prioritised=prioritised), "diverged")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"env": ":Pendulum-v1"}, "expected ID or MODULE:ID"),
        ({"env": ".x:Pendulum-v1"}, "expected ID or MODULE:ID"),
        ({"replay_capacity": 10**15}, "replay_capacity is 1000000000000000"),
        ({"algo": "ddpg", "ddpg": DDPGConfig(actor_norm="batch", batch_size=1)}, "batch_size is 1; expected 2"),
        ({"algo": "d4pg", "d4pg": D4PGConfig(v_max=float("inf"))}, "v_max"),
    ],
)
def test_settings_that_cannot_be_are_said_in_one_line(tmp_path, changes, said):
    refused(replace(SMALL, out=tmp_path / "none", **changes), said)
    assert not (tmp_path / "none").exists()
