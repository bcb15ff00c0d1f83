"""Targets by hand, and target networks that follow in closed form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from agent.targets import inverted, polyak, project, smoothing_noise, target_of, td_target


def linear(value: float) -> nn.Linear:
    layer = nn.Linear(3, 2)
    nn.init.constant_(layer.weight, value)
    nn.init.constant_(layer.bias, -value)
    return layer


def test_timeout_is_bootstrapped_but_disengagement_is_not():
    reward = torch.tensor([1.0, 1.0, 1.0])
    discount = torch.tensor([0.9, 0.9, 0.0])  # driving on, out of time, disengaged
    next_value = torch.tensor([10.0, -2.0, 100.0])
    assert td_target(reward, discount, next_value).tolist() == pytest.approx([10.0, -0.8, 1.0])


@given(tau=st.floats(0.001, 1), steps=st.integers(1, 20), start=st.floats(-3, 3), source=st.floats(-3, 3))
def test_polyak_after_n_steps_has_forgotten_all_but_one_minus_tau_to_the_n(tau, steps, start, source):
    target, followed = target_of(linear(start)), linear(source)
    for _ in range(steps):
        polyak(target, followed, tau)
    expected = source + (1 - tau) ** steps * (start - source)
    assert target.weight.flatten().tolist() == pytest.approx([expected] * 6, abs=1e-5)
    assert target.bias.tolist() == pytest.approx([-expected] * 2, abs=1e-5)
    assert followed.weight.flatten().tolist() == pytest.approx([source] * 6)


def test_a_frozen_target_gets_no_gradient_but_lets_it_through_to_its_input():
    target, obs = target_of(linear(0.5)), torch.ones(1, 3, requires_grad=True)
    target(obs).sum().backward()
    assert all(parameter.grad is None for parameter in target.parameters())
    assert obs.grad.tolist() == [[1.0, 1.0, 1.0]]


def test_polyak_records_no_gradient():
    target, followed = target_of(linear(0.0)), linear(1.0)
    polyak(target, followed, 0.5)
    assert not target.weight.requires_grad
    assert target.weight.grad_fn is None


def test_a_column_where_a_row_of_numbers_belongs_is_refused():
    reward, column = torch.ones(4), torch.ones(4, 1)
    with pytest.raises(TypeError):
        td_target(reward, torch.ones(4), column)
    with pytest.raises(TypeError):
        td_target(reward, torch.ones(5), torch.ones(5))


ATOMS = torch.tensor([0.0, 1.0, 2.0, 3.0])


def test_projection_by_hand():
    """r + γz = 1 + 0.5 · (0, 1, 2, 3) = 1, 1.5, 2, 2.5: the halves are shared by their neighbours."""
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    projected = project(probabilities, torch.tensor([1.0]), torch.tensor([0.5]), ATOMS)
    assert projected[0].tolist() == pytest.approx([0.0, 0.1 + 0.1, 0.1 + 0.3 + 0.2, 0.2])


def test_projection_of_a_terminal_step_is_the_reward_alone():
    probabilities = torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 4)
    reward = torch.tensor([2.0, 0.25, 7.0, -7.0])
    projected = project(probabilities, reward, torch.zeros(4), ATOMS)
    expected = torch.tensor([[0, 0, 1, 0], [0.75, 0.25, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]])
    assert torch.allclose(projected, expected)


@given(seed=st.integers(0, 2**31), discount=st.floats(0, 1), reward=st.floats(-1, 1))
def test_projection_keeps_the_whole_probability_and_the_mean_within_range(seed, discount, reward):
    generator, atoms = torch.Generator().manual_seed(seed), torch.linspace(-10, 10, 21)
    probabilities = torch.zeros(3, 21)
    probabilities[:, 5:16] = torch.rand(3, 11, generator=generator).softmax(dim=1)  # Z' within ±5: nothing is cut off
    projected = project(probabilities, torch.full((3,), reward), torch.full((3,), discount), atoms)
    assert projected.min() >= 0
    assert projected.sum(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert (projected @ atoms).tolist() == pytest.approx(
        (reward + discount * (probabilities @ atoms)).tolist(), abs=1e-4
    )


@given(low=st.floats(-200, 0), width=st.floats(0.5, 300), count=st.integers(2, 101))
def test_projection_from_beyond_either_end_is_never_negative(low, width, count):
    atoms = torch.linspace(low, low + width, count)
    reward = torch.tensor([-1e4, 1e4])
    projected = project(torch.full((2, count), 1 / count), reward, torch.ones(2), atoms)
    assert projected.min() >= 0
    assert projected[0, 0].item() == pytest.approx(1, abs=1e-4)
    assert projected[1, -1].item() == pytest.approx(1, abs=1e-4)


def test_projection_agrees_with_monte_carlo():
    """Draw returns from Z', move them, and let each fall on one neighbour with the chance of its nearness."""
    generator, draws = torch.Generator().manual_seed(0), 200_000
    atoms, reward, discount = torch.linspace(-1, 1, 9), 0.3, 0.9
    probabilities = torch.rand(9, generator=generator).softmax(dim=0)
    drawn = atoms[torch.multinomial(probabilities, draws, replacement=True, generator=generator)]
    position = ((reward + discount * drawn).clamp(-1, 1) + 1) / 0.25
    chance = torch.rand(draws, generator=generator)
    fallen = (position.floor() + (chance < position - position.floor())).long()
    frequencies = torch.bincount(fallen, minlength=9) / draws
    projected = project(probabilities[None], torch.tensor([reward]), torch.tensor([discount]), atoms)[0]
    assert torch.allclose(projected, frequencies, atol=5 * (0.25 / draws) ** 0.5)  # five standard deviations at most


def test_smoothing_noise_has_its_spread_and_stays_within_its_clip():
    generator = torch.Generator().manual_seed(0)
    noise = smoothing_noise(torch.zeros(100_000, 1), 0.2, 0.5, generator)
    assert noise.abs().max().item() == pytest.approx(0.5)
    assert noise.std().item() == pytest.approx(0.2 * 0.9806, rel=0.02)  # σ of a normal clipped at 2.5 σ: √(1−0.0383)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.003)


def test_smoothing_noise_is_drawn_anew_and_none_without_a_spread():
    action, generator = torch.ones(4, 2), torch.Generator().manual_seed(0)
    first, second = (smoothing_noise(action, 0.2, 0.5, generator) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(smoothing_noise(action, 0.0, 0.5, generator), torch.zeros(4, 2))
    assert torch.equal(action, torch.ones(4, 2))


def test_inverted_gradients_by_hand():
    gradient = torch.tensor([[2.0, -2.0, 2.0, -2.0, 2.0]])
    action = torch.tensor([[1.0, 1.0, 0.5, 0.5, -1.0]])
    assert inverted(gradient, action).tolist() == [[0.0, -2.0, 0.5, -1.5, 2.0]]


def test_polyak_copies_running_statistics():
    source = nn.BatchNorm1d(3)
    target = target_of(source)
    source(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) + 4)
    polyak(target, source, 0.005)
    assert torch.equal(target.running_mean, source.running_mean)
    assert target.running_mean.min() > 0.1
    assert not target.training
