"""Targets by hand, and target networks that follow in closed form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from agent.targets import polyak, target_of, td_target


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
