"""A real drive, by a server in another process and through faults, is the same to the bit when it is replayed."""

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest
from rich.console import Console

from deploy.driving.controls import Controls
from deploy.driving.drive import DriveConfig, drive
from deploy.log.entries import DriveSummary, LogError
from deploy.log.reader import read_facts, read_log, read_ticks
from deploy.log.replay import ReplayConfig, replay, rerun
from deploy.policy import OnnxPolicy
from deploy.vehicles import VEHICLES
from tests.deploy.driving.test_drive import SERVE, SOON_S, WatchedCar, process
from tests.deploy.policies import constant_policy, seeing_policy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def config(tmp_path, monkeypatch) -> DriveConfig:
    monkeypatch.setitem(VEHICLES, "watched", "tests.deploy.driving.test_drive:WatchedCar")
    monkeypatch.setattr(WatchedCar, "opened", Queue())
    server = f"ipc://{tmp_path}/s"
    return DriveConfig(server=server, vehicle="watched", out=tmp_path / "drive", hello_s=SOON_S, video=False)


@pytest.fixture
def policy(tmp_path) -> Path:
    return seeing_policy(tmp_path / "policy.onnx")


@contextmanager
def driving(config: DriveConfig, controls: Controls) -> Iterator[tuple[WatchedCar, Future[DriveSummary]]]:
    """A drive in a thread: its car, and what will become of it."""
    with ThreadPoolExecutor(1) as thread:
        summary = thread.submit(drive, config, controls=controls)
        car = WatchedCar.opened.get(timeout=SOON_S)
        try:
            yield car, summary
        finally:
            car.finished = True


def _two_ticks_later(car: WatchedCar) -> None:
    before = len(car.commands)
    car.wait_for_speed(lambda _: len(car.commands) > before + 1)


def test_every_action_and_every_change_of_state_comes_out_again(config, policy):
    controls = Controls()
    with process(SERVE, policy, config.server) as server, driving(config, controls) as (car, summary):
        car.wait_for_speed(lambda speed: speed > 0.5)
        os.kill(server.pid, signal.SIGKILL)
        car.wait_for_speed(lambda speed: speed < 0.01)
        with process(SERVE, policy, config.server):
            car.wait_for_speed(lambda speed: speed > 0.5)
            controls.ask("e_stop")
            car.wait_for_speed(lambda speed: speed < 0.01)
            controls.ask("reset")
            _two_ticks_later(car)
            controls.ask("start")
            car.wait_for_speed(lambda speed: speed > 0.5)
            car.finished = True
            assert summary.result(timeout=SOON_S).finished
    log = config.out / "drive.mcap"
    entries = read_log(log)
    assert {entry.safety for entry in entries} >= {
        "standby",
        "driving",
        "safe_stop",
        "e_stop",
    }  # and degraded, if in time
    outcome = rerun(read_ticks(log), read_facts(log), OnnxPolicy.load(policy), tolerance=0.0)
    assert outcome.same
    assert outcome.actions.ticks == sum(entry.action is not None for entry in entries) > 10
    assert len({entry.action for entry in entries}) > 10  # it saw where it was
    assert outcome.changes >= 7
    assert replay(ReplayConfig(log, policy), Console(quiet=True))


def test_a_policy_that_is_exchanged_under_way_is_logged_and_each_part_comes_out_again(config, policy, tmp_path):
    first, served = OnnxPolicy.load(policy), tmp_path / "served.onnx"
    second = constant_policy(tmp_path / "second.onnx", 0.0, 0.0)
    shutil.copyfile(policy, served)
    with process(SERVE, served, config.server), driving(config, Controls()) as (car, summary):
        car.wait_for_speed(lambda speed: speed > 0.5)
        shutil.copyfile(second, tmp_path / "new.onnx")
        (tmp_path / "new.onnx").rename(served)
        car.wait_for_speed(lambda speed: speed > 1.25)  # the first drives at about 1 m/s, the second at 1.4
        car.finished = True
        assert summary.result(timeout=SOON_S).missed_deadlines == 0
    log = config.out / "drive.mcap"
    drove = [entry.policy_id for entry in read_log(log)]
    assert set(drove) == {first.id, OnnxPolicy.load(second).id}
    for path in (policy, second):
        assert replay(ReplayConfig(log, path), Console(quiet=True))


def test_a_disk_that_gets_full_stops_the_car_and_what_was_written_is_replayed(config, policy):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    part = config.out / "drive.mcap.part"
    with process(SERVE, policy, config.server), driving(config, Controls()) as (car, summary):
        car.wait_for_speed(lambda speed: speed > 0.5)
        resource.setrlimit(resource.RLIMIT_FSIZE, (part.stat().st_size + 10_000, hard))
        try:
            with pytest.raises(LogError, match="File too large"):
                summary.result(timeout=SOON_S)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert car.commands[-1].speed == -1.0  # stand still
    stopped = [command.speed for command in car.commands].index(-1.0, len(read_log(part)))
    assert stopped <= len(read_log(part)) + 2  # commanded in the cycle after the one whose log failed
    assert replay(ReplayConfig(part, policy), Console(quiet=True))


def test_a_drive_by_a_policy_in_its_own_process_is_replayed_without_naming_it(config, policy, monkeypatch):
    with driving(replace(config, policy=policy), Controls()) as (car, summary):
        car.wait_for_speed(lambda speed: speed > 0.5)
        car.finished = True
        summary.result(timeout=SOON_S)
    with (console := Console(width=200)).capture() as capture:
        assert replay(ReplayConfig(config.out / "drive.mcap"), console)
    assert f"policy {OnnxPolicy.load(policy).id}, tolerance 0" in capture.get()
