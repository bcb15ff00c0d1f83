"""A car is taught from the page: a real `lapwing teach`, a real browser."""

import csv
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.witness import SOON_S
from perception.episodes import RecordConfig, record
from tests.agent.runs import write_encoder
from tests.deploy.dashboard.browser import ROOT, chromium, needs_chromium, open_page

pytestmark = [needs_chromium, pytest.mark.slow]


@contextmanager
def teaching(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """A session of teaching with the safety driver at the dashboard, and where that is."""
    record(RecordConfig(out=folder / "episodes", frames=60))
    encoder = write_encoder(folder / "vae.safetensors")
    options = ["--encoder", str(encoder), "--episodes", str(folder / "episodes"), "--out", str(folder / "run")]
    options += ["--safety.driver", "dashboard", "--dashboard", "0", "--safety.put-back-s", "0.2", *more]
    options += ["--ddpg.hidden", "8", "--ratio.per-step", "0.05", "--ratio.per-episode", "3"]
    command = [sys.executable, "-m", "lapwing", "teach", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            while "token=" not in said:
                said += process.stdout.readline()
            yield process, next(word for word in said.split() if "token=" in word)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SOON_S)


def test_training_takeover_and_done_by_the_buttons_of_the_page(tmp_path):
    with teaching(tmp_path) as (process, url), chromium() as browser:
        page = open_page(browser, url)
        page.locator("[data-order=train]").click()
        page.locator("#state", has_text="train: driving").wait_for(timeout=SOON_S * 1e3)
        page.locator("#estop").click()
        page.locator("#phase", has_text="standing").wait_for()
        page.locator("#learned", has_text="episodes: 1").wait_for()  # the curves, out of the run's folder
        page.locator("[data-order=undo]").click()
        page.locator("#learned", has_text="episodes: 0").wait_for()
        page.locator("[data-order=done]").click()
        page.locator("#state", has_text="over").wait_for()
        assert process.wait(SOON_S) == 1  # nothing was tested
        assert "undone" in process.stdout.read()


def test_a_page_that_is_closed_while_the_car_learns_has_taken_over(tmp_path):
    with teaching(tmp_path) as (process, url), chromium() as browser:
        page = open_page(browser, url)
        page.locator("[data-order=train]").click()
        page.locator("#state", has_text="train: driving").wait_for(timeout=SOON_S * 1e3)
        page.close()
        while "safety driver" not in (line := process.stdout.readline()):
            assert line
        page = open_page(browser, url)
        assert page.locator("#phase").inner_text() == "standing"
        page.locator("#learned", has_text="episodes: 1").wait_for()
    (row,) = csv.DictReader((tmp_path / "run" / "episodes.csv").read_text().splitlines())
    assert row["disengagement"] == "safety driver"
