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
from agent.replay.uniform import Batch, Sample

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
for i in range(13):
    if i == 6:
        compiled.load_state_dict(compiled.state_dict())
        for algorithm in (plain, compiled):
            algorithm.actor_optimizer.anneal(0.1)
            algorithm.critic_optimizer.anneal(0.1)
    samples = [sample() for _ in range(fast.at_once)]
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
assert int(state["updates"]) == 104
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
    assert compiled(delay=3).at_once == 6
    assert compiled(delay=13).at_once == 13


def test_another_number_of_updates_is_refused():
    with pytest.raises(ValueError, match="expected 8 at a time"):
        compiled().update([])


def test_only_long_runs_are_worth_compiling(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert worthwhile(LONG)
    assert not worthwhile(LONG - 1)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not worthwhile(LONG)


RESUMED = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from rich.console import Console
from agent.algorithms.td3 import TD3Config
from agent.snapshot import load_newest
from agent.sync.train import SyncConfig, train_sync

config = SyncConfig(
    steps=120, episode_steps=20, start_steps=10, evaluate_every=60, evaluation_episodes=1, checkpoint_every=20,
    compiled=True, precision=sys.argv[1], td3=TD3Config(hidden=(16,), batch_size=8),
)
folder, quiet = Path(sys.argv[2]), Console(quiet=True)
train_sync(replace(config, out=folder / "straight"), quiet)
train_sync(replace(config, out=folder / "resumed", steps=60), quiet)
train_sync(replace(config, out=folder / "resumed", resume=True), quiet)
one, other = (load_newest(folder / name / "checkpoints", print) for name in ("straight", "resumed"))
assert one.step == other.step == 120
assert int(one.tensors["algorithm.updates"]) == 104  # of 110 that are due: whole calls of eight
assert [key for key in one.tensors if not torch.equal(one.tensors[key], other.tensors[key])] == []
assert all(torch.equal(one.replay[key], other.replay[key]) for key in one.replay)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_compiled_run_goes_on_bit_by_bit(precision, tmp_path):
    subprocess.run([sys.executable, "-c", RESUMED, precision, str(tmp_path)], check=True, timeout=280)
