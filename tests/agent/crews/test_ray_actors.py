"""`lapwing train --launcher ray` on a Ray of one machine, with real processes."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.agent.processes import commands, descendants, driven, training, until
from tests.agent.worlds import GATE, SLOW_LANE

END = ("--max-episodes", "15")  # tests, which take more than a minute while the gate is closed


def seats(process: subprocess.Popen) -> set[int]:
    """Pids of the actors that drive."""
    return {pid for pid, name in commands(descendants(process.pid)).items() if name.startswith("ray::Seat.drive")}


def told(process: subprocess.Popen, pattern: str) -> str:
    """What the pattern's group is in the first line that it matches."""
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match[1]
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
def test_four_actors_drive_and_ray_starts_one_anew_that_is_killed(encoder, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv(GATE, str(tmp_path / "gate"))
    out, four = tmp_path / "out", {"0", "1", "2", "3"}
    options = ["--launcher", "ray", "--actors", "4", "--env", SLOW_LANE, *END]

    def rows_of(actor: str) -> int:
        return sum(row["actor"] == actor for row in driven(out))

    with training(encoder, dataset, out, *options) as process:
        until(lambda: {row["actor"] for row in driven(out)} == four, process)
        before = seats(process)
        assert len(before) == 4
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        actor = told(process, r"actor (\d) died and is started anew")
        rows = rows_of(actor)
        until(lambda: rows_of(actor) > rows, process)
        after = seats(process)
        assert len(after) == 4
        assert before - after == {victim}
        all_of_them = commands(descendants(process.pid))
        Path(tmp_path / "gate").touch()
        out_text, err = process.communicate(timeout=100)
    assert process.returncode == 1, err  # out of episodes
    assert "started anew" not in out_text
    assert sum(row["kind"] == "test" for row in driven(out)) == 15
    assert {row["actor"] for row in driven(out) if row["kind"] == "test"} == {"0"}
    until(lambda: not commands(set(all_of_them)))
