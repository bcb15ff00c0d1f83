"""What every launcher promises: each trial comes to an end that stands in its folder, and none is left behind."""

import gc
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.launchers import LAUNCHERS, Launcher, load_launcher
from agent.launchers.attempt import LOG, Order, read_ended
from agent.snapshot import CHECKPOINTS, snapshots
from perception.files import FolderInUseError, alone_in
from tests.agent.worlds import GATE, SLOW, SMALL
from tests.conftest import children

SLOW_ON_RAY = [pytest.param(name, marks=pytest.mark.slow) if name == "ray" else name for name in LAUNCHERS]


@pytest.fixture(scope="module", params=SLOW_ON_RAY)
def launcher(request, tmp_path_factory) -> Iterator[Launcher]:
    before = children()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(GATE, str(tmp_path_factory.mktemp("world") / "gate"))
        with load_launcher(request.param)(1, None) as launcher:
            yield launcher
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # Ray drops its daemons, which have ended, without having waited for them
    assert children() <= before


def slow(folder: Path) -> Order:
    """A trial that takes 200 s."""
    options = [*SMALL, "--env", SLOW, "--steps", "10000", "--start-steps", "10000", "--out", str(folder)]
    return Order(folder.name, folder, options, Path.cwd())


def until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.02)


def until_all_have_ended(launcher: Launcher, names: set[str]) -> None:
    while names:
        ended = launcher.ended()
        assert names.issuperset(ended)
        names = names.difference(ended)
        time.sleep(0.02)


def in_use(folder: Path) -> bool:
    try:
        with alone_in(folder):
            return False
    except FolderInUseError:
        return True


def drives(folder: Path) -> bool:
    """True once two episodes are over."""
    file = folder / "episodes.csv"
    return file.exists() and file.read_text().count("\n") > 2


def test_how_a_trial_ended_stands_in_its_folder_beside_what_it_said(launcher, tmp_path):
    assert launcher.at_once == 1
    assert launcher.ended() == []
    for name, option in (("good", "--help"), ("bad", "--fly")):
        launcher.start(Order(name, tmp_path / name, [option], Path.cwd()))
    until_all_have_ended(launcher, {"good", "bad"})
    assert launcher.ended() == []
    good, bad = read_ended(tmp_path / "good"), read_ended(tmp_path / "bad")
    assert good is not None
    assert bad is not None
    assert (good.exit_code, bad.exit_code) == (0, 2)
    assert good.seconds > 0
    assert "--length-m" in (tmp_path / "good" / LOG).read_text()
    assert "--fly" in (tmp_path / "bad" / LOG).read_text()


@pytest.mark.slow
def test_an_interrupted_trial_goes_on_from_where_it_saved_and_leaving_ends_it(launcher, tmp_path):
    folder = tmp_path / "slow"
    launcher.start(slow(folder))
    until(lambda: drives(folder))
    launcher.interrupt()
    until_all_have_ended(launcher, {"slow"})
    ended = read_ended(folder)
    assert ended is not None
    assert ended.exit_code == 130
    assert len(snapshots(folder / CHECKPOINTS)) == 1
    assert not in_use(folder)
    episodes = (folder / "episodes.csv").read_text()
    launcher.start(slow(folder))
    until(lambda: len((folder / "episodes.csv").read_text()) > len(episodes))
    assert (folder / "episodes.csv").read_text().startswith(episodes)
    assert "interrupted" in (folder / LOG).read_text()
    assert in_use(folder)
    launcher.__exit__(None, None, None)
    until(lambda: not in_use(folder))


def test_a_worker_of_ray_need_not_load_torch():
    """It only waits for a process that does."""
    script = "import sys, agent.launchers.ray_tasks; print('torch' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout == "False\n"


def test_a_child_hears_ctrl_c_though_its_parent_blocks_it(tmp_path, monkeypatch):
    """As Ray's workers do."""
    monkeypatch.setenv(GATE, str(tmp_path / "gate"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with load_launcher("local")(1, None) as launcher:
            launcher.start(slow(tmp_path / "slow"))
            until(lambda: drives(tmp_path / "slow"))
            launcher.interrupt()
            until_all_have_ended(launcher, {"slow"})
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
