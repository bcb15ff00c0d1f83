"""deploy/ needs neither torch nor gymnasium nor pybullet: a small computer on the car has none of them."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import zmq

from deploy.client import PolicyClient
from tests.deploy.policies import echo_policy
from tests.refusal import import_without

ROOT = Path(__file__).parents[2]
BLOCKED = import_without(
    {"torch", "gymnasium", "pybullet", "sim", "agent", "perception", "adafruit_pca9685"},
    *(
        "deploy.policy_server.server",
        "deploy.driving.drive",
        "deploy.client",
        "deploy.log.replay",
        "deploy.vehicles.pwm",
        "deploy.seats.gamepad",
    ),
    *("deploy.safety_drivers.keyboard", "deploy.safety_drivers.scripted", "deploy.safety_drivers.dashboard"),
    *("deploy.dashboard.app", "deploy.dashboard.command", "deploy.dashboard.rebuild"),
)
SERVE = (
    "import sys; from pathlib import Path; from deploy.policy_server.server import *; "
    "serve(ServeConfig(Path(sys.argv[1]), sys.argv[2]))"
)


ON_A_DONKEYCAR = import_without(
    {"torch", "gymnasium", "pybullet", "sim", "agent", "perception", "av", "mcap"},
    *("deploy.donkeycar_part", "deploy.ackermann"),
)


def test_server_client_and_loop_import_without_torch_gymnasium_and_pybullet():
    subprocess.run([sys.executable, "-c", BLOCKED], cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-c", ON_A_DONKEYCAR], cwd=ROOT, check=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_bare_robot_environment_serves_a_policy(tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{ROOT}[robot]"], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
    assert not {"torch", "gymnasium", "pybullet"} & set(os.listdir(packages))
    policy, address = echo_policy(tmp_path / "policy.onnx"), f"ipc://{tmp_path}/s"
    with (
        subprocess.Popen([python, "-c", SERVE, policy, address], cwd=tmp_path) as server,
        zmq.Context() as context,
        PolicyClient(context, address) as client,
    ):
        try:
            assert client.hello(timeout_s=60).spec.run == "test"
        finally:
            server.terminate()
            assert server.wait(10) == 0
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"{ROOT}[record]"], check=True)
    assert not {"torch", "gymnasium", "pybullet"} & set(os.listdir(packages))
    subprocess.run([python, "-c", "import perception.recorder, perception.donkeycar"], cwd=tmp_path, check=True)
