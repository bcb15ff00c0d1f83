"""The compiled update gives the plain path's numbers; it is never compiled silently."""

import subprocess
import sys

import pytest

from agent.algorithms.td3 import TD3, TD3Config
from agent.fast import FastTD3

SAME = """
import torch
from agent.algorithms.td3 import TD3, TD3Config
from agent.fast import FastTD3
from agent.replay import Batch, Sample

torch.set_num_threads(1)

def learner():
    torch.manual_seed(0)
    return TD3(TD3Config(hidden=(32, 32)), obs_size=5, action_size=2)

def batch():
    columns = [torch.randn(64, width, generator=generator) for width in (5, 2, 1, 5)]
    transitions = Batch(columns[0], columns[1].tanh(), columns[2][:, 0], torch.full((64,), 0.99), columns[3])
    return Sample(transitions, torch.arange(64), torch.rand(64, generator=generator))

said = []
generator, plain, compiled = torch.Generator().manual_seed(0), learner(), learner()
fast = FastTD3(compiled, said.append)
assert not said
for i in range(50):
    if i == 25:
        compiled.load_state_dict(compiled.state_dict())
    samples = [batch(), batch()]
    expected = [plain.update(sample) for sample in samples]
    found = fast.update(samples)
    assert len(said) == 1 and "compiling" in said[0]
    for name, scalar in expected[1].items():
        assert torch.allclose(found[1][name], scalar, rtol=1e-3, atol=1e-4), name
    assert torch.allclose(found[0]["priority"], expected[0]["priority"], rtol=1e-3, atol=1e-4)
wanted, state = plain.state_dict(), compiled.state_dict()
assert wanted.keys() == state.keys()
for name in wanted:
    assert torch.allclose(wanted[name].double(), state[name].double(), rtol=1e-3, atol=1e-4), name
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
sample = batch()
assert torch.allclose(plain.update(sample)["priority"], compiled.update(sample)["priority"], rtol=1e-3, atol=1e-4)
"""


@pytest.mark.slow
def test_a_hundred_compiled_updates_are_those_of_the_plain_path():
    """In a process of its own: the shape checks that tests install cannot be compiled."""
    subprocess.run([sys.executable, "-c", SAME], check=True, timeout=110)


def test_an_update_in_the_midst_of_a_delay_is_refused():
    fast = FastTD3(TD3(TD3Config(hidden=(4,)), 3, 2), tell=pytest.fail)
    with pytest.raises(ValueError, match="expected 2 at a time"):
        fast.update([])


@pytest.mark.parametrize(("setting", "value"), [("dropout", 0.01), ("max_grad_norm", 1.0), ("preactivation_cost", 0.1)])
def test_settings_that_the_compiled_update_has_not_are_refused(setting, value):
    config = TD3Config(hidden=(4,), **{setting: value})
    with pytest.raises(ValueError, match=f"no {setting}"):
        FastTD3(TD3(config, 3, 2), tell=pytest.fail)
