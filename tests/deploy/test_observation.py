"""The state vector: what the policy sees beside the image."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploy.observation import StateVector


def test_after_reset_the_car_has_stood_still():
    vector = StateVector(top_speed_mps=2.5, max_steering_rad=0.5, history=2)
    assert vector.size == 6
    assert vector.assemble(0.0, 0.0).tolist() == [0, 0, 0, -1, 0, -1]
    vector.executed([0.5, 0.5])
    vector.reset()
    assert vector.assemble(0.0, 0.0).tolist() == [0, 0, 0, -1, 0, -1]


def test_speed_and_steering_are_scaled_and_the_newest_action_comes_first():
    vector = StateVector(top_speed_mps=2.5, max_steering_rad=0.5, history=2)
    for action in ([0.25, 0.0], [0.5, 0.75], [-0.5, 1.0]):
        vector.executed(np.array(action))
    state = vector.assemble(speed_mps=1.25, steering_rad=-0.25)
    assert state.dtype == np.float32
    assert state.tolist() == [0.5, -0.5, -0.5, 1.0, 0.5, 0.75]


def test_an_action_that_is_changed_later_does_not_change_what_is_remembered():
    vector = StateVector(2.5, 0.5, history=1)
    action = np.array([0.5, 0.5], np.float32)
    vector.executed(action)
    action[:] = 0
    assert vector.assemble(0, 0).tolist() == [0, 0, 0.5, 0.5]


@given(st.integers(0, 5), st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32))))
def test_the_vector_holds_the_last_actions_before_them_the_standing_car(history, actions):
    vector = StateVector(2.5, 0.5, history)
    for action in actions:
        vector.executed(action)
    newest_first = [*reversed(actions), *[(0.0, -1.0)] * history][:history]
    assert vector.assemble(0, 0)[2:].tolist() == [value for action in newest_first for value in action]
    assert vector.size == len(vector.assemble(0, 0)) == 2 + 2 * history
