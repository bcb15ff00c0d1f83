"""What every algorithm promises, whatever its equations."""

from dataclasses import fields, is_dataclass, replace
from pkgutil import resolve_name
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch

from agent.algorithms import ALGORITHMS, CONFIGS
from agent.checkpoint import flat_weights, load_flat_weights
from agent.replay.uniform import Batch, Sample

SUITED = {"v_min": -4.0, "v_max": 1.0, "atoms": 51}  # returns of the task below, for critics that must know them
OBS = torch.tensor([[1.0, 0.0, -1.0]])


@pytest.fixture(params=list(ALGORITHMS))
def algorithm(request) -> type:
    torch.set_num_threads(1)
    return resolve_name(ALGORITHMS[request.param])


def make(algorithm: type, seed: int = 0, **changes: Any) -> Any:
    config = get_type_hints(algorithm.__init__)["config"]()
    assert is_dataclass(config)
    torch.manual_seed(seed)
    known = {field.name for field in fields(config)}
    suited = {name: value for name, value in SUITED.items() if name in known}
    return algorithm(replace(config, **({"hidden": (32,)} | suited | changes)), obs_size=3, action_size=2)


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


def test_every_algorithm_has_its_settings_listed(algorithm):
    names = [name for name, path in ALGORITHMS.items() if resolve_name(path) is algorithm]
    assert list(CONFIGS) == list(ALGORITHMS)
    assert resolve_name(CONFIGS[names[0]]) is get_type_hints(algorithm.__init__)["config"]


def test_it_learns_a_one_step_task(algorithm):
    learner = make(algorithm, hidden=(32, 32), actor_lr=1e-3, critic_lr=3e-3)
    learn(learner, 500)
    regret = (learner.actor(OBS)[0] - torch.tensor([0.5, -0.3])).square().sum()
    assert regret < 0.03  # standing still has 0.34


def test_its_value_is_what_an_action_returns(algorithm):
    learner = make(algorithm, hidden=(32, 32), actor_lr=1e-3, critic_lr=3e-3)
    learn(learner, 800)
    action = torch.tensor([[0.5, -0.3], [0.0, 0.0], [-0.5, 0.7]])
    value = learner.value(OBS.expand(3, 3), action)
    assert value.shape == (3,)
    assert value.tolist() == pytest.approx([0.0, -0.34, -2.0], abs=0.2)


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
    priority = scalars.pop("priority")
    expected = {"critic_loss", "actor_loss", "q_mean", "q_max", "td_error", "saturation"}
    assert scalars.keys() == expected | {"critic_grad_norm", "actor_grad_norm"}
    assert all(scalar.ndim == 0 for scalar in scalars.values())
    assert priority.shape == (64,)
    assert priority.min() >= 0
    for tensor in (priority, *scalars.values()):
        assert tensor.isfinite().all()
        assert not tensor.requires_grad


def test_a_transition_it_knows_has_less_priority_than_one_that_surprises_it(algorithm):
    learner = make(algorithm, critic_lr=1e-2)
    learn(learner, 200)
    batch = bandit(torch.Generator().manual_seed(1))
    surprising = torch.arange(64) % 2 == 0
    priority = learner.update(batch._replace(reward=batch.reward + 2.0 * surprising))["priority"]
    assert priority[surprising].min() > priority[~surprising].max()


def test_weights_of_one_change_nothing_and_weights_of_nothing_teach_nothing(algorithm):
    batch, rows = bandit(torch.Generator().manual_seed(0)), torch.arange(64)
    plain, same, nothing = (make(algorithm) for _ in range(3))
    losses = [
        learner.update(sample)["critic_loss"].item()
        for learner, sample in (
            (plain, batch),
            (same, Sample(batch, rows, torch.ones(64))),
            (nothing, Sample(batch, rows, torch.zeros(64))),
        )
    ]
    assert losses[0] == losses[1] > 0
    assert losses[2] == 0


def test_restored_it_goes_on_bit_by_bit(algorithm):
    learner, restored = make(algorithm, 0), make(algorithm, 1)
    learn(learner, 3)  # an odd number, in the midst of a delay
    saved = learner.state_dict()
    copies = {name: tensor.clone() for name, tensor in saved.items()}
    learn(learner, 4)
    assert all(torch.equal(saved[name], copies[name]) for name in saved)  # what was saved is no view
    restored.load_state_dict(saved)
    learn(restored, 4)
    went_on, again = learner.state_dict(), restored.state_dict()
    assert went_on.keys() == again.keys()
    assert all(torch.equal(went_on[name], again[name]) for name in went_on)
    assert any(not torch.equal(went_on[name], saved[name]) for name in went_on)


def test_a_fresh_one_is_saved_and_restored_too(algorithm):
    learner, restored = make(algorithm, 0), make(algorithm, 1)
    learn(restored, 2)
    restored.load_state_dict(learner.state_dict())
    assert restored.state_dict().keys() == learner.state_dict().keys()
    assert torch.equal(flat_weights(restored.policy), flat_weights(learner.policy))


def test_a_state_of_another_shape_is_refused(algorithm):
    learner = make(algorithm)
    saved = learner.state_dict()
    saved.pop(next(name for name in saved if name.startswith("actor.")))
    with pytest.raises(RuntimeError):
        learner.load_state_dict(saved)


def test_it_leaves_the_batch_as_it_was(algorithm):
    batch = bandit(torch.Generator().manual_seed(0))
    before = [column.clone() for column in batch]
    make(algorithm).update(batch)
    assert all(torch.equal(column, old) for column, old in zip(batch, before, strict=True))
