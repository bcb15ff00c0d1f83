"""Learning gets the memory that it has freed back without asking the kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAULTS = """
import resource, sys, torch
from perception.memory import keep_freed
if "keep" in sys.argv: keep_freed()
def faults(mib, times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(mib << 18), torch.ones(mib << 18)  # 4 bytes each
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(8, 5)
print(faults(8, 20))
"""


def page_faults(*argv: str) -> int:
    """That 40 blocks of 8 MiB, freed one after another, cost a process that has had such blocks before."""
    done = subprocess.run([sys.executable, "-c", FAULTS, *argv], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have settings of their own")
def test_freed_memory_is_used_again_without_a_page_fault():
    assert page_faults() > 1000
    assert page_faults("keep") < 100
