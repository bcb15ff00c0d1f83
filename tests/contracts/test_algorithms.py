"""What every algorithm promises, whatever its equations."""

from dataclasses import is_dataclass, replace
from pkgutil import resolve_name
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch

from agent.algorithms import ALGORITHMS
from agent.checkpoint import flat_weights, load_flat_weights
from agent.replay import Batch

OBS = torch.tensor([[1.0, 0.0, -1.0]])


@pytest.fixture(params=list(ALGORITHMS))
def algorithm(request) -> type:
    torch.set_num_threads(1)
    return resolve_name(ALGORITHMS[request.param])


def make(algorithm: type, seed: int = 0, **changes: Any) -> Any:
    config = get_type_hints(algorithm.__init__)["config"]()
    assert is_dataclass(config)
    torch.manual_seed(seed)
    return algorithm(replace(config, hidden=(32,), **changes), obs_size=3, action_size=2)


def bandit(generator: torch.Generator, size: int = 64) -> Batch:
    """Every episode is one step, worth −|a − (0.5, −0.3)|²."""
    action = torch.rand(size, 2, generator=generator) * 2 - 1
    reward = -(action - torch.tensor([0.5, -0.3])).square().sum(dim=1)
    obs = OBS.expand(size, 3)
    return Batch(obs, action, reward, torch.zeros(size), obs)


def learn(learner: Any, updates: int) -> Any:
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        scalars = learner.update(bandit(generator))
    return scalars


def test_it_says_what_it_is_trained_by(algorithm):
    config = make(algorithm).config
    assert 0 < config.gamma < 1
    assert config.batch_size > 0


def test_it_learns_a_one_step_task(algorithm):
    learner = make(algorithm, actor_lr=3e-3, critic_lr=3e-3)
    learn(learner, 300)
    assert learner.actor(OBS)[0].tolist() == pytest.approx([0.5, -0.3], abs=0.08)


def test_its_actions_are_bounded(algorithm):
    actor = make(algorithm).actor
    for parameter in actor.parameters():
        parameter.data.mul_(100)
    actions = actor(100 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    assert actions.shape == (50, 2)
    assert actions.abs().max() <= 1


def test_the_same_seed_and_experience_make_the_same_policy(algorithm):
    learners = [make(algorithm, seed) for seed in (0, 0, 1)]
    for learner in learners:
        learn(learner, 5)
    one, same, other = (flat_weights(learner.actor) for learner in learners)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_its_policy_is_saved_and_restored_as_one_vector(algorithm):
    learner, restored = make(algorithm, 0), make(algorithm, 1)
    learn(learner, 5)
    saved = flat_weights(learner.actor).numpy().copy()
    load_flat_weights(restored.actor, torch.from_numpy(saved.copy()))
    assert torch.equal(restored.actor(OBS), learner.actor(OBS))
    learn(learner, 1)
    assert np.array_equal(flat_weights(restored.actor).numpy(), saved)  # the two share no memory


def test_it_reports_finite_scalars_that_hold_no_graph(algorithm):
    scalars = learn(make(algorithm), 2)
    assert scalars
    for scalar in scalars.values():
        assert scalar.ndim == 0
        assert scalar.isfinite()
        assert not scalar.requires_grad


def test_it_leaves_the_batch_as_it_was(algorithm):
    batch = bandit(torch.Generator().manual_seed(0))
    before = [column.clone() for column in batch]
    make(algorithm).update(batch)
    assert all(torch.equal(column, old) for column, old in zip(batch, before, strict=True))
