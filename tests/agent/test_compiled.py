"""The compiled update gives the plain path's numbers; it is never compiled silently."""

import subprocess
import sys

import pytest

from agent.algorithms.td3 import TD3, TD3Config
from agent.compiled import AT_ONCE, LONG, Compiled, worthwhile

SAME = """
import sys
from dataclasses import replace
from pkgutil import resolve_name
import torch
from agent.algorithms import ALGORITHMS, CONFIGS
from agent.compiled import Compiled
from agent.replay import Batch, Sample

torch.set_num_threads(1)
name = sys.argv[1]
changes = dict(hidden=(32, 32), preactivation_cost=0.01, max_grad_norm=0.5, actor_lr=1e-4, critic_lr=1e-4)
config = replace(resolve_name(CONFIGS[name])(), **changes)

def learner():
    torch.manual_seed(0)
    return resolve_name(ALGORITHMS[name])(config, obs_size=5, action_size=2)

def sample():
    columns = [torch.randn(64, width, generator=generator) for width in (5, 2, 1, 5)]
    transitions = Batch(columns[0], columns[1].tanh(), columns[2][:, 0], torch.full((64,), 0.99), columns[3])
    return Sample(transitions, torch.arange(64), torch.rand(64, generator=generator))

said = []
generator, plain, compiled = torch.Generator().manual_seed(0), learner(), learner()
fast = Compiled(compiled, "float32", said.append)
assert not said
for i in range(25):
    if i == 12:
        compiled.load_state_dict(compiled.state_dict())
    samples = [sample() for _ in range(4)]
    expected = [plain.update(sample) for sample in samples]
    found = fast.update(samples)
    assert len(said) == 2 and "compiling" in said[0] and "compiled" in said[1]
    for before, after in zip(expected, found, strict=True):
        assert before.keys() == after.keys()
        for key, scalar in before.items():
            assert torch.allclose(after[key], scalar, rtol=1e-3, atol=1e-4), key
wanted, state = plain.state_dict(), compiled.state_dict()
assert wanted.keys() == state.keys()
for key in wanted:
    assert torch.allclose(wanted[key].double(), state[key].double(), rtol=1e-3, atol=1e-4), key
assert int(state["updates"]) == 100
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
last = sample()
assert torch.allclose(plain.update(last)["priority"], compiled.update(last)["priority"], rtol=1e-3, atol=1e-4)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["ddpg", "td3", "d4pg"])
def test_a_hundred_compiled_updates_are_those_of_the_plain_path(name):
    """In a process of its own: the shape checks that tests install cannot be compiled."""
    subprocess.run([sys.executable, "-c", SAME, name], check=True, timeout=280)


def compiled(**changes) -> Compiled:
    return Compiled(TD3(TD3Config(hidden=(4,), **changes), 3, 2), "float32", tell=pytest.fail)


def test_a_call_is_as_many_whole_periods_as_fit():
    assert compiled(delay=1).at_once == compiled(delay=2).at_once == AT_ONCE
    assert compiled(delay=3).at_once == 3
    assert compiled(delay=7).at_once == 7


def test_another_number_of_updates_is_refused():
    with pytest.raises(ValueError, match="expected 4 at a time"):
        compiled().update([])


def test_only_long_runs_are_worth_compiling(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert worthwhile(LONG)
    assert not worthwhile(LONG - 1)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not worthwhile(LONG)
