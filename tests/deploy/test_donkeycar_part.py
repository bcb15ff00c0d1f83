"""A policy of Lapwing as donkeycar's pilot: the same checks as in our own loop, in donkeycar's signs and scales."""

import logging
import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from textwrap import indent
from threading import Event, Thread

import cv2
import numpy as np
import pytest

from deploy.donkeycar_part import LapwingPilot
from deploy.driving.faults import Fault
from deploy.policy_spec import PolicyError
from deploy.wire import Action, PolicyInfo
from tests.deploy.policies import SPEC, constant_policy

ROOT = Path(__file__).parents[2]
SERVE = (
    "import sys; from pathlib import Path; from deploy.policy_server.server import *; "
    "serve(ServeConfig(Path(sys.argv[1]), sys.argv[2]))"
)
TOP_MPS, MAX_RAD, RATE_RADPS = SPEC.top_speed_mps, SPEC.max_steering_rad, SPEC.max_steering_rate_radps
WATCHDOG_S, PERIOD_S = 0.15, SPEC.period_s


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Says:
    """A policy that answers what it is told to, and remembers what it was asked."""

    def __init__(self, action: tuple[float, float] | None):
        self.action, self.asked, self.closed = action, [], False
        self.fault = Fault("silent", "silent")
        self.answered = Event()

    def hello(self, timeout_s: float) -> PolicyInfo:
        return PolicyInfo(SPEC, "0123456789ab", session=1)

    def act(self, seq, image, state, captured_at_s, deadline_s) -> Action | None:
        self.asked.append((image, state.tolist(), captured_at_s))
        if len(self.asked) >= 3:
            self.answered.set()
        return self.action and Action(seq, captured_at_s, self.action, "0123456789ab", 1e-4, session=1)

    def close(self) -> None:
        self.closed = True


class Rig:
    """A pilot in a donkeycar loop of 20 Hz, whose time and camera are ours."""

    def __init__(self, action: tuple[float, float] | None = (0.0, 1.0), **settings: float):
        self.clock, self.policy = Clock(), Says(action)
        self.pilot = LapwingPilot(self.policy, now=self.clock, **settings)
        self.count = 0

    def picture(self) -> np.ndarray:
        self.count += 1
        return np.full((120, 160, 3), 50 + self.count % 200, np.uint8)

    def drive(self, for_s: float, picture=None, **measured: float) -> tuple[float, float]:
        """So long, with a new picture in every loop, or what `picture` gives; the last angle and throttle."""
        for _ in range(round(for_s / 0.05)):
            self.clock.now_s += 0.05
            output = self.pilot.run((picture or self.picture)(), **measured)
        return output


def test_left_of_ours_is_negative_in_donkeycar():
    assert Rig((1.0, 0.0)).drive(3.0)[0] == -1.0
    assert Rig((-1.0, 0.0)).drive(3.0)[0] == 1.0


@pytest.mark.parametrize(("speed", "throttle"), [(1.0, 0.4), (0.0, 0.2), (-1.0, 0.0)])
def test_throttle_is_a_part_of_what_the_policys_top_speed_takes(speed, throttle):
    assert Rig((0.0, speed), max_throttle=0.4).drive(2.0)[1] == pytest.approx(throttle)


def test_it_steers_no_faster_than_the_policys_car():
    rig = Rig((1.0, 1.0))
    rig.drive(0.3)
    before = rig.drive(0.1)[0]
    assert before - rig.drive(0.1)[0] == pytest.approx(RATE_RADPS * 0.1 / MAX_RAD)


def test_it_asks_once_in_a_period_whatever_donkeycars_rate():
    rig = Rig()
    rig.drive(2.0)
    assert len(rig.policy.asked) == 20
    for _ in range(90):  # 45 Hz, uneven to the period
        rig.clock.now_s += 1 / 45
        rig.pilot.run(rig.picture())
    assert len(rig.policy.asked) == pytest.approx(40, abs=1)


def test_it_shows_the_policy_its_size_and_what_was_measured():
    rig = Rig()
    rig.drive(1.0, speed_mps=TOP_MPS / 2, steering_rad=MAX_RAD / 4)
    image, state, captured_at_s = rig.policy.asked[-1]
    assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
    assert state[:2] == pytest.approx([0.5, 0.25])
    assert state[2:] == pytest.approx([0.0, 1.0, 0.0, 1.0])  # the last two actions, as executed
    assert captured_at_s == pytest.approx(rig.clock.now_s, abs=PERIOD_S)


def test_speed_that_is_not_measured_is_estimated():
    rig = Rig((0.0, 1.0), speed_lag_s=0.5)
    rig.drive(10.0)
    assert rig.policy.asked[-1][1][0] == pytest.approx(1.0, abs=0.01)
    first = next(i for i, (_, state, _) in enumerate(rig.policy.asked) if state[0] > 0)
    assert rig.policy.asked[first + 4][1][0] == pytest.approx(1 - math.exp(-0.5 / 0.5), abs=0.1)


@pytest.mark.parametrize(
    "action", [None, (math.nan, 1.0), (0.0, math.inf), (0.0, 1.01), (-1.01, 0.0)], ids=["none", "nan", "inf", "+", "-"]
)
def test_an_answer_that_is_none_gives_no_throttle(action):
    rig = Rig((0.5, 1.0))
    assert rig.drive(1.0)[1] == 1.0
    rig.policy.action = action
    rig.drive(WATCHDOG_S)
    assert rig.drive(0.05)[1] == 0.0
    assert Rig(action).drive(1.0) == (0.0, 0.0)


def test_a_frozen_camera_gives_no_throttle():
    rig = Rig()
    assert rig.drive(1.0)[1] == 1.0
    picture = rig.picture()
    assert rig.drive(0.1, lambda: picture)[1] > 0  # a camera may be slower than we are
    assert rig.drive(2 * WATCHDOG_S + 0.05, lambda: picture)[1] == 0.0
    count = len(rig.policy.asked)
    assert rig.drive(1.0, lambda: picture)[1] == 0.0
    assert rig.policy.asked[-1][2] == rig.policy.asked[count - 1][2]  # its age is that of the picture, not of the call


def test_a_camera_that_is_not_ready_gives_no_throttle():
    rig = Rig()
    assert rig.drive(1.0, lambda: None) == (0.0, 0.0)
    assert rig.drive(1.0)[1] == 1.0
    assert rig.drive(WATCHDOG_S + 0.05, lambda: None)[1] == 0.0


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.full((120, 160, 1), 99, np.uint8), "picture is uint8 (120, 160, 1)"),
        (np.zeros((120, 160, 3), np.uint8), "camera, black"),
        (np.full((120, 160, 3), 0.5), "picture is float64 (120, 160, 3)"),
    ],
)
def test_a_picture_to_drive_blind_by_stops_the_car_and_is_logged_once(image, told, caplog):
    rig = Rig()
    rig.drive(1.0)
    with caplog.at_level(logging.INFO):
        assert rig.drive(1.0, lambda: image.copy())[1] == 0.0
    assert [told in record.getMessage() for record in caplog.records if "camera" in record.getMessage()] == [True]
    assert rig.drive(1.0)[1] == 0.0  # a person must have looked
    rig.pilot.hear_mode("user")
    assert rig.drive(1.0)[1] == 1.0


@pytest.mark.parametrize("mode", ["local", "local_angle"])
def test_a_pause_of_donkeycars_loop_is_no_person_who_has_looked(mode):
    rig = Rig()
    rig.drive(1.0)
    rig.drive(0.2, lambda: np.zeros((120, 160, 3), np.uint8))
    for _ in range(2):
        rig.clock.now_s += 60.0
        rig.pilot.hear_mode(mode)
        assert rig.drive(1.0)[1] == 0.0


def test_after_a_passing_fault_a_pause_takes_no_person():
    rig = Rig(None)
    rig.drive(1.0)
    rig.policy.action = (0.0, 1.0)
    rig.clock.now_s += 60.0
    assert rig.drive(1.0)[1] == 1.0


def test_when_the_policy_comes_back_the_car_drives_on_from_rest():
    rig = Rig()
    rig.drive(1.0, speed_mps=1.0)
    rig.policy.action = None
    assert rig.drive(1.0, speed_mps=1.0)[1] == 0.0
    rig.policy.action = (0.0, 1.0)
    assert rig.drive(1.0, speed_mps=1.0)[1] == 0.0  # it still rolls
    assert rig.drive(1.0, speed_mps=0.0)[1] == 1.0


def test_an_answer_is_good_for_no_longer_than_the_watchdog_time():
    rig = Rig()
    rig.drive(1.0)
    rig.clock.now_s += WATCHDOG_S + 0.05
    assert rig.pilot.run_threaded(rig.picture())[1] == 0.0


def test_after_a_person_has_driven_it_begins_anew():
    rig = Rig((1.0, 1.0))
    assert rig.drive(2.0) == (-1.0, 1.0)
    rig.clock.now_s += 5.0
    assert rig.drive(0.05) == (0.0, 0.0)
    assert rig.policy.asked[-1][1] == [0.0, 0.0, 0.0, -1.0, 0.0, -1.0]


def test_threaded_it_asks_by_itself_until_it_is_shut_down():
    policy = Says((0.0, 1.0))
    pilot = LapwingPilot(policy)
    thread = Thread(target=pilot.update, daemon=True)
    thread.start()
    output, picture = (0.0, 0.0), np.full((120, 160, 3), 60, np.uint8)
    while output[1] == 0.0:
        picture = picture + 1
        output = pilot.run_threaded(picture % 100 + 60)
        policy.answered.wait(0.01)
    assert output == (0.0, 1.0)
    pilot.shutdown()
    assert policy.closed
    assert not thread.is_alive()


def test_it_loads_a_policy_file(tmp_path):
    pilot = LapwingPilot.load(constant_policy(tmp_path / "policy.onnx", 0.25, 0.5), max_throttle=0.4)
    assert pilot.run(np.full((120, 160, 3), 60, np.uint8)) == (0.0, 0.0)
    pilot.shutdown()
    with pytest.raises(PolicyError, match="cannot be read"):
        LapwingPilot.load(tmp_path / "no.onnx")


def test_it_drives_by_a_policy_server_and_stops_when_that_is_killed(tmp_path):
    policy, address = constant_policy(tmp_path / "policy.onnx", 0.0, 0.5), f"ipc://{tmp_path}/s"
    picture = np.full((120, 160, 3), 60, np.uint8)
    with subprocess.Popen([sys.executable, "-c", SERVE, policy, address], cwd=ROOT) as server:
        pilot = LapwingPilot.connect(address, max_throttle=0.4)
        for throttle, then in ((pytest.approx(0.3), server.kill), (0.0, pilot.shutdown)):
            while pilot.run(picture)[1] != throttle:
                picture = picture % 100 + 61
            then()


# -- in donkeycar itself

DONKEYCAR = ["donkeycar==5.3.0", "opencv-python-headless<5"]  # the latter as by donkeycar's extras for boards and PCs
MANUAL = ROOT / "docs" / "vehicles.md"
PLACE = "    #\n    # stop at a stop sign\n"  # in manage.py, before which the manual says to put the lines
LISTENER = """
    class Listener:
        def run(self, *told):
            print("TOLD", *told, flush=True)
    V.add(Listener(), inputs=["user/mode", "steering", "throttle"])
"""
MYCONFIG = """
CAMERA_TYPE = "IMAGE_LIST"
PATH_MASK = "images/*.png"
DRIVE_TRAIN_TYPE = "MOCK"
WEB_INIT_MODE = "local"
MAX_LOOPS = 80
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_drives_in_donkeycars_own_vehicle_loop_and_manage_py(tmp_path):
    """In an environment of donkeycar's own, into which `lapwing[donkeycar]` is installed as its users would."""
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    run = partial(subprocess.run, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": ""})
    run([sys.executable, "-m", "venv", venv])
    run([python, "-m", "pip", "install", "--quiet", *DONKEYCAR])
    run([python, "-m", "pip", "install", "--quiet", f"{ROOT}[donkeycar]"])
    run([python, "-m", "pip", "check"])
    policy = constant_policy(tmp_path / "policy.onnx", steering=0.5, speed=0.0)
    run([python, ROOT / "tests" / "deploy" / "donkeycar_drive.py", policy])

    run([venv / "bin" / "donkey", "createcar", "--path", tmp_path])
    _follow_the_manual(tmp_path)
    told = run([python, "manage.py", "drive"], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    told = [line.split()[1:] for line in told if line.startswith("TOLD")]
    assert told[0] == ["local", "0.0", "0.0"]
    assert told.count(["local", "-0.5", "0.15"]) > 40  # half left of ours; half speed of a max_throttle of 0.3


def _follow_the_manual(car: Path) -> None:
    """Put the manual's lines into donkeycar's own manage.py, with a camera of noise and somebody who listens."""
    lines = re.search(r"```python\n(from deploy.donkeycar_part.*?)```", MANUAL.read_text(), re.DOTALL).group(1)
    program = (car / "manage.py").read_text()
    assert program.count(PLACE) == program.count("\n    V.start(") == 1
    program = program.replace(PLACE, indent(lines, "    ") + PLACE).replace("\n    V.start(", LISTENER + "    V.start(")
    (car / "manage.py").write_text(program)
    (car / "myconfig.py").write_text(MYCONFIG)
    (car / "images").mkdir()
    noise = np.random.default_rng(0).integers(60, 200, (100, 120, 160, 3), np.uint8)
    for number, image in enumerate(noise):
        cv2.imwrite(str(car / "images" / f"{number}_.png"), image)
