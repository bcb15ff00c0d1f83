"""Learning gets the memory that it has freed back without asking the kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS = """
import resource, sys, torch
from torch import nn
from perception.memory import keep_freed
torch.set_num_threads(1)
if "keep" in sys.argv:
    keep_freed()
network = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))
batch = torch.randn(2, 512, 256)
def faults(updates):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(updates):
        torch.autograd.grad(network(batch).mean(), list(network.parameters()))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(50)
print(faults(100))
"""


def page_faults(*argv: str) -> int:
    """That a hundred gradients of a small network cost a process that has computed some before."""
    done = subprocess.run([sys.executable, "-c", FAULTS, *argv], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have settings of their own")
def test_freed_memory_is_used_again():
    assert page_faults("keep") < page_faults() / 3
