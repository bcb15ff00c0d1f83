"""A drive by a real policy server in another process stops when that one dies, and leaves log, figures and video."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from queue import Queue
from threading import Condition, Thread
from typing import ClassVar

import msgspec
import numpy as np
import pytest

import lapwing
from deploy.client import ServerError
from deploy.driving.drive import DriveConfig, DriveError, drive
from deploy.driving.safety import Command
from deploy.log.reader import read_log
from deploy.policy_spec import PolicyError
from deploy.vehicles import VEHICLES, CarConfig, Frame, VehicleError, open_vehicle
from deploy.vehicles.simulated import SimulatedCar
from tests.deploy.policies import SPEC, constant_policy, echo_policy
from tests.deploy.serving import scraped, serving

ROOT = Path(__file__).parents[3]
SERVE = (
    "import sys; from pathlib import Path; from deploy.policy_server.server import *; "
    "serve(ServeConfig(Path(sys.argv[1]), sys.argv[2]))"
)
DRIVE = (
    "import sys; from pathlib import Path; from deploy.driving.drive import *; "
    "sys.exit(not drive(DriveConfig(server=sys.argv[1], out=Path(sys.argv[2]))).succeeded)"
)
SOON_S = 30.0  # more than anything here takes, however slow the machine
BRAKING_MPS2 = 4.0


class WatchedCar(SimulatedCar):
    """The simulated car, and a test that waits for what it does and ends its drive."""

    opened: ClassVar[Queue["WatchedCar"]] = Queue()

    def __init__(self, road_seed: int, length_m: float):
        super().__init__(road_seed, length_m)
        self.commands: list[Command] = []
        self.finished = False
        self._changed = Condition()
        self._frame: Frame | None = None
        WatchedCar.opened.put(self)

    def read(self) -> Frame:
        frame = super().read()
        with self._changed:
            self._frame = frame
            self._changed.notify_all()
        return replace(frame, truth=replace(frame.truth, finished=self.finished))

    def send(self, command: Command) -> np.ndarray:
        self.commands.append(command)
        return super().send(command)

    def wait_for_speed(self, condition: Callable[[float], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._frame is not None and condition(self._frame.speed_mps), SOON_S)


@pytest.fixture
def config(tmp_path, monkeypatch) -> DriveConfig:
    monkeypatch.setitem(VEHICLES, "watched", f"{__name__}:WatchedCar")
    monkeypatch.setattr(WatchedCar, "opened", Queue())
    return DriveConfig(server=f"ipc://{tmp_path}/s", vehicle="watched", out=tmp_path / "drive", hello_s=SOON_S)


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen]:
    """A Python process of its own, killed at the latest when it is no longer needed."""
    command = [sys.executable, "-c", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def driving(config: DriveConfig) -> Iterator[tuple[WatchedCar, Queue]]:
    """A drive in a thread: its car, and where its summary will arrive."""
    summaries: Queue = Queue()
    thread = Thread(target=lambda: summaries.put(drive(config)))
    thread.start()
    car = WatchedCar.opened.get(timeout=SOON_S)
    try:
        yield car, summaries
    finally:
        car.finished = True
        thread.join()


def test_the_car_stops_when_the_server_is_killed_and_drives_on_when_it_is_back(config, tmp_path, capsys):
    policy = constant_policy(tmp_path / "policy.onnx", steering=0.0, speed=-0.2)  # 1.1 m/s
    with process(SERVE, policy, config.server) as server, driving(config) as (car, summaries):
        car.wait_for_speed(lambda speed: speed > 1.0)
        os.kill(server.pid, signal.SIGKILL)
        car.wait_for_speed(lambda speed: speed < 0.01)
        with process(SERVE, policy, config.server):
            car.wait_for_speed(lambda speed: speed > 0.5)
            car.finished = True
            summary = summaries.get(timeout=SOON_S)
    said = capsys.readouterr().out
    assert f"policy server at {config.server} silent for 150 ms: stopping" in said
    assert "driving on" in said
    assert summary.succeeded
    assert summary.stops >= 1
    _assert_stood_in_time(config.out / "drive.mcap")
    _assert_no_command_outlives_the_watchdog(config.out / "drive.mcap", car.commands)


def _assert_stood_in_time(log: Path) -> None:
    entries = read_log(log)
    answered = [entry for entry in entries if entry.action]
    last, back = max(pairwise(answered), key=lambda pair: pair[1].t_s - pair[0].t_s)  # the longest silence
    must_stand_s = last.t_s + last.round_trip_ms / 1e3 + 0.15 + last.speed_mps / BRAKING_MPS2 + 0.05
    standing = [entry.speed_mps for entry in entries if must_stand_s < entry.t_s < back.t_s]
    assert standing
    assert standing == pytest.approx([0.0] * len(standing), abs=0.05)


def _assert_no_command_outlives_the_watchdog(log: Path, commands: list[Command]) -> None:
    entries = read_log(log)
    for before, entry, command in zip(commands, entries[1:], commands[1:], strict=False):
        if entry.action is None:
            assert command.expires_at_s == before.expires_at_s


def test_a_finished_route_is_a_success_and_leaves_log_figures_and_video(config, tmp_path):
    policy = constant_policy(tmp_path / "policy.onnx", steering=0.0, speed=0.5)
    with process(SERVE, policy, config.server), driving(config) as (car, summaries):
        car.wait_for_speed(lambda speed: speed > 0.5)
        car.finished = True
        summary = summaries.get(timeout=SOON_S)
    assert summary.succeeded
    assert {path.name for path in config.out.iterdir()} == {"drive.mcap", "drive.json", "drive.mp4"}
    figures = msgspec.json.decode((config.out / "drive.json").read_bytes())
    assert figures["ticks"] == len(read_log(config.out / "drive.mcap"))
    assert figures["finished"] is True


def test_leaving_the_lane_ends_the_drive_without_success(config, tmp_path):
    policy = constant_policy(tmp_path / "policy.onnx", steering=-1.0, speed=1.0)
    with process(SERVE, policy, config.server), driving(replace(config, video=False)) as (_, summaries):
        summary = summaries.get(timeout=SOON_S)
    assert not summary.succeeded
    assert summary.disengagement == "off lane"
    assert not (config.out / "drive.mp4").exists()


def test_the_policy_sees_the_state_and_the_car_gets_the_answer(config, tmp_path):
    policy = echo_policy(tmp_path / "policy.onnx")  # speed set-point = scaled speed: it stays where it is
    with process(SERVE, policy, config.server), driving(replace(config, time_limit_s=1.0)) as (_, summaries):
        summary = summaries.get(timeout=SOON_S)
    entries = [entry for entry in read_log(config.out / "drive.mcap") if entry.action]
    assert not summary.finished
    assert entries
    for before, entry in pairwise(entries):
        assert entry.action[1] == pytest.approx(entry.state[0])
        assert entry.state[0] == pytest.approx(entry.speed_mps / SPEC.top_speed_mps)
        if entry.tick == before.tick + 1:
            assert entry.state[2:4] == pytest.approx(before.sent)


def test_ctrl_c_leaves_a_shorter_but_complete_drive_and_ends_the_server(tmp_path):
    address, out = f"ipc://{tmp_path}/s", tmp_path / "drive"
    policy = constant_policy(tmp_path / "policy.onnx", steering=0.0, speed=0.0)
    with process(SERVE, policy, address) as server, process(DRIVE, address, out) as driver:
        assert "serving policy" in server.stdout.readline()
        assert "driving the simulated car by policy" in driver.stdout.readline()
        driver.send_signal(signal.SIGINT)
        assert driver.wait(SOON_S) == 1
        server.send_signal(signal.SIGTERM)
        assert server.wait(SOON_S) == 0
        assert "served" in server.stdout.read()
    assert not list(out.glob("*.part"))
    assert {"drive.mcap", "drive.json"} <= {path.name for path in out.iterdir()}


def test_what_was_asked_for_in_vain_is_an_error(config, tmp_path):
    with pytest.raises(ServerError, match="no policy server answered"):
        drive(replace(config, hello_s=0.02))
    policy = echo_policy(tmp_path / "policy.onnx", msgspec.structs.replace(SPEC, top_speed_mps=5.0))
    with process(SERVE, policy, config.server):
        with pytest.raises(PolicyError, match="top_speed_mps"):
            drive(config)
        with pytest.raises(VehicleError, match="vehicle hovercraft is unknown; expected one of simulated"):
            drive(replace(config, vehicle="hovercraft"))
    assert not config.out.exists()


def test_a_drive_with_keys_is_let_in_and_tells_prometheus_how_it_goes(config, tmp_path, capsys):
    assert lapwing.main(["keys", str(tmp_path / "keys"), "--clients", "car"]) == 0
    policy = constant_policy(tmp_path / "policy.onnx", steering=0.0, speed=0.0)
    options = "--keys", f"{tmp_path}/keys/server", "--no-realtime"
    with serving(policy, "tcp://127.0.0.1:0", *options) as server:
        config = replace(config, server=server.address, video=False)
        with pytest.raises(ServerError, match="no policy server answered"):
            drive(replace(config, hello_s=0.5))
        known = replace(config, keys=tmp_path / "keys" / "clients" / "car", metrics_port=0)
        with driving(known) as (car, summaries):
            car.wait_for_speed(lambda speed: speed > 0.5)
            said = capsys.readouterr().out
            told = scraped(re.search(r"metrics at (\S+)", said)[1])
            car.finished = True
            assert summaries.get(timeout=SOON_S).succeeded
    assert told["lapwing_drive_ticks_total"] > 3
    assert told['lapwing_drive_state{lapwing_drive_state="driving"}'] == 1
    assert told["lapwing_drive_round_trip_seconds_count"] > 0


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"watchdog_s": 150.0}, "--watchdog-s is 150; expected 0 to 0.5"),  # somebody thinks in ms
        ({"watchdog_s": float("nan")}, "--watchdog-s is nan"),
        ({"deadline_s": 0.2}, "--deadline-s is 0.2; expected 0 to 0.1"),
        ({"max_speed": float("nan")}, "--max-speed is nan; expected -1 to 1"),
        ({"wait": True}, "expected a terminal, --gamepad or --dashboard"),
    ],
)
def test_no_car_drives_without_a_limit_or_waits_for_nobody(config, tmp_path, setting, said):
    policy = constant_policy(tmp_path / "policy.onnx", steering=0.0, speed=0.0)
    with pytest.raises(DriveError, match=re.escape(said)):
        drive(replace(config, policy=policy, **setting))
    assert not config.out.exists()


def test_a_policy_in_the_loops_own_process_is_held_to_what_a_servers_is(config, tmp_path, capsys):
    policy = constant_policy(tmp_path / "policy.onnx", steering=float("nan"), speed=1.0)
    with driving(replace(config, policy=policy, time_limit_s=1.0, video=False)) as (_, summaries):
        assert not summaries.get(timeout=SOON_S).succeeded
    entries = read_log(config.out / "drive.mcap")
    assert {entry.fault.kind for entry in entries} == {"invalid"}
    assert {entry.sent[1] for entry in entries} == {-1.0}
    assert "WARNING: policy" in capsys.readouterr().out


def test_only_a_simulated_car_can_be_faster_than_real_time(monkeypatch):
    monkeypatch.setitem(VEHICLES, "real", "tests.deploy.cars:RealCar")
    assert open_vehicle("real", 0, 10.0).length_m == 10.0
    with pytest.raises(VehicleError, match="real drives in real time; speed is 2, expected 1"):
        open_vehicle("real", 0, 10.0, 2.0)


def test_a_camera_that_is_later_than_an_action_may_be_old_never_moves_the_car(tmp_path):
    policy = constant_policy(tmp_path / "policy.onnx", steering=0.0, speed=1.0)
    late = CarConfig(sensor_delay_s=0.2)
    config = DriveConfig(policy=policy, car=late, out=tmp_path / "drive", time_limit_s=1.0, video=False)
    drive(config)
    entries = list(read_log(config.out / "drive.mcap"))
    assert {entry.command.speed for entry in entries} == {-1.0}
    assert all(entry.inputs.now_s - entry.inputs.captured_at_s >= 0.2 for entry in entries[3:])


def test_a_gamepads_emergency_stop_stops_the_car(config, tmp_path):
    policy = constant_policy(tmp_path / "policy.onnx", steering=0.0, speed=1.0)
    os.mkfifo(tmp_path / "js0")
    pad = os.open(tmp_path / "js0", os.O_RDWR)
    config = replace(config, policy=policy, gamepad=tmp_path / "js0", video=False)
    with driving(config) as (car, summaries):
        car.wait_for_speed(lambda speed: speed > 0.5)
        os.write(pad, bytes([0, 0, 0, 0, 1, 0, 1, 1]))  # struct js_event: button 1 (B) is pressed
        car.wait_for_speed(lambda speed: speed < 0.01)
        car.finished = True
        summaries.get(timeout=SOON_S)
    os.close(pad)
    entries = read_log(config.out / "drive.mcap")
    assert entries[-1].safety == "e_stop"
    assert [ask for entry in entries for ask in entry.inputs.asks] == ["e_stop"]
