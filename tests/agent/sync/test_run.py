"""What a run's config asks for is what the run has: noise, priorities, layers, precision, starts and observations."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from agent.algorithms.ddpg import DDPGConfig
from agent.algorithms.td3 import TD3Config
from agent.noise import OrnsteinUhlenbeck, OrnsteinUhlenbeckConfig
from agent.noise.gaussian import Gaussian, GaussianConfig
from agent.noise.none import NoNoise
from agent.noise.parameter import ParameterNoise, ParameterNoiseConfig
from agent.replay.prioritized import PriorityConfig
from agent.snapshot import load_newest
from agent.sync.config import SyncConfig
from agent.sync.run import Run
from agent.sync.tasks import make_task
from agent.sync.train import train_sync
from tests.agent.fakes import Strip

TINY = SyncConfig(
    steps=40,
    start_steps=0,
    evaluation_episodes=3,
    replay_capacity=40,
    td3=TD3Config(hidden=(8, 8), batch_size=4),
    ddpg=DDPGConfig(hidden=(8, 8), batch_size=4),
)


def drive(run: Run, steps: int) -> None:
    for _ in range(steps):
        run.step(run.act())
        run.learn()


# -- noise

STRENGTHS = [1 / 32, 32**-0.5, 1]  # of three actors, in equal ratios


@pytest.mark.parametrize(
    ("noise", "kind", "strength"),
    [("gaussian", Gaussian, "std"), ("ou", OrnsteinUhlenbeck, "sigma"), ("parameter", ParameterNoise, "distance")],
)
def test_every_actor_explores_by_the_noise_asked_for_and_a_strength_of_its_own(noise, kind, strength):
    config = replace(
        TINY,
        noise=noise,
        actors=3,
        gaussian=GaussianConfig(std=0.64),
        ou=OrnsteinUhlenbeckConfig(sigma=0.64),
        parameter=ParameterNoiseConfig(distance=0.64),
    )
    explorers = Run(config, lambda: Strip(4)).explorer.explorer.explorers
    assert [type(explorer) for explorer in explorers] == [kind] * 3
    found = [getattr(explorer, strength) for explorer in explorers]
    assert found == pytest.approx([0.64 * share for share in STRENGTHS])


def test_without_noise_it_does_what_the_policy_says():
    run = Run(replace(TINY, noise="none", gaussian=GaussianConfig(std=1.0)), lambda: Strip(4))
    assert [type(explorer) for explorer in run.explorer.explorer.explorers] == [NoNoise]
    action = run.act()
    with torch.no_grad():
        assert action.tolist() == pytest.approx(run.algorithm.policy(torch.zeros(1, 2))[0].tolist(), abs=1e-6)


# -- replay


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_a_transition_has_the_priority_of_its_latest_error(alpha):
    """At γ = 0 and a critic that stays at zero the error is the reward: 1, 2, 3, 4."""
    settings = TD3Config(hidden=(8,), batch_size=4, gamma=0.0, critic_lr=0.0)
    priority = PriorityConfig(alpha=alpha, epsilon=0.0)
    config = replace(TINY, prioritised=True, priority=priority, td3=settings, update_ratio=10.0)
    run = Run(config, lambda: Strip(4))
    drive(run, 4)
    expected = [error**alpha for error in (1, 2, 3, 4)]
    assert run.replay.state()["priorities"].tolist() == pytest.approx(expected, abs=0.1)


def test_the_bias_of_priorities_is_corrected_from_the_share_asked_for():
    run = Run(replace(TINY, prioritised=True, priority=PriorityConfig(beta=0.2)), lambda: Strip(4))
    drive(run, 20)
    assert run.replay.beta == pytest.approx(0.2 + 0.8 / 2)  # half of the 40 steps


# -- networks


def linear(network: torch.nn.Module) -> list[torch.nn.Linear]:
    return [module for module in network.modules() if isinstance(module, torch.nn.Linear)]


def test_parts_of_the_observation_and_the_action_enter_their_layers():
    """Pendulum's three numbers and one action enter the second layer of eight units, the time the first."""
    config = replace(TINY, algo="ddpg", layers={"obs": 1}, action_layer=2)
    run = Run(config, partial(make_task, "Pendulum-v1", 20, True))
    assert [layer.in_features for layer in linear(run.algorithm.actor)] == [1, 8 + 3, 8]
    assert [layer.in_features for layer in linear(run.algorithm.critic)] == [1, 8 + 3, 8 + 1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_are_in_the_precision_asked_for_where_it_learns_and_nowhere_else(precision):
    run, seen = Run(replace(TINY, precision=precision), lambda: Strip(4)), list[torch.dtype]()
    linear(run.algorithm.actor)[0].register_forward_hook(lambda module, inputs, out: seen.append(out.dtype))
    for _ in range(2):
        run.step(run.act())
    assert seen == [torch.float32] * 2
    seen.clear()
    run.learn()
    assert set(seen) == {getattr(torch, precision)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_run_has_the_precision_asked_for(precision):
    run = Run(replace(TINY, precision=precision, compiled=True), lambda: Strip(4))
    assert run.compiled is not None
    assert run.compiled.precision == precision


# -- starts and observations


class Seeded(Strip):
    """Remembers the seeds of its episodes."""

    def __init__(self) -> None:
        super().__init__(4)
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self.seeds.append(seed)
        return super().reset(seed=seed, options=options)


def test_no_two_episodes_start_alike_in_evaluations_and_training():
    run = Run(TINY, Seeded)
    run.evaluate()
    drive(run, 8)
    run.evaluate()
    assert len(run.judge.seeds) == 6
    assert len(run.env.seeds) == 2
    assert None not in run.judge.seeds + run.env.seeds
    assert len(set(run.judge.seeds + run.env.seeds)) == 8


@pytest.mark.parametrize(("time_aware", "size"), [(False, 3), (True, 4)])
def test_a_time_aware_policy_sees_one_number_more(tmp_path, time_aware, size):
    config = replace(TINY, steps=20, episode_steps=20, start_steps=20, checkpoint_every=20, out=tmp_path)
    train_sync(replace(config, time_aware=time_aware), Console(quiet=True))
    snapshot = load_newest(tmp_path / "checkpoints", pytest.fail)
    assert snapshot.tensors["algorithm.actor.body.0.weight"].shape == (8, size)
