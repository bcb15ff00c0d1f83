"""The serving benchmark: what its figures are made of, and that all peers serve the same actions."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving import Outage, ServedWrong, consequences, figures, port_of, server, table, told, turn
from benchmarks.serving_peers import PEERS
from deploy.policy import OnnxPolicy
from tests.deploy.policies import echo_policy

ROOT = Path(__file__).parents[1]
KEYS = {
    *("infer_p50_us", "round_trip_p50_us", "added_p50_us", "added_p99_us", "added_curve_p50_us"),
    *("x_openpi", "x_groot", "x_grpc", "stop_after_kill_ms", "recover_after_kill_ms"),
}


def rounds(*medians: float) -> list[np.ndarray]:
    """One array of calls, µs, for each round: all alike but for one that took 1,000 longer."""
    return [np.array([median] * 99 + [median + 1000]) for median in medians]


TOOK = {
    "infer": rounds(100, 110, 300),
    "echo": rounds(50, 60, 90),
    "ours": rounds(180, 200, 600),
    "curve": rounds(190, 220, 610),
    "openpi": rounds(270, 250, 300),
    "groot": rounds(360, 400, 600),
    "grpc": rounds(540, 600, 900),
}


def test_what_is_added_is_a_round_trip_less_echo_and_inference_of_the_same_round():
    found = figures(TOOK)
    assert found["infer_p50_us"] == 110
    assert found["added_p50_us"] == 30  # of 30, 30 and 210
    assert found["added_curve_p50_us"] == 50  # of 40, 50 and 220
    assert found["added_p99_us"] == pytest.approx(40, abs=0.1)  # 1 of 100 calls is 1,000 late: 30 + 0.01 · 1,000


def test_a_ratio_is_the_median_of_each_rounds_own():
    found = figures(TOOK)
    assert (found["x_openpi"], found["x_groot"], found["x_grpc"]) == (1.25, 2.0, 3.0)
    assert found["times_infer"] == 1.82  # of 1.8, 1.818 and 2


def test_the_worst_kill_counts():
    found = consequences([Outage(30.0, 400.0), Outage(41.0, 300.0), Outage(35.0, 500.0)])
    assert (found["stop_after_kill_ms"], found["recover_after_kill_ms"], found["kills"]) == (41.0, 500.0, 3)


def test_all_promised_figures_are_told_and_shown():
    found = figures(TOOK) | consequences([Outage(30.0, 400.0)])
    assert found.keys() >= KEYS
    assert "told to stop after 30 ms" in told(found)
    assert [list(column.cells)[4] for column in table(found).columns] == ["openpi's websockets", "270", "280", "1.25"]


def test_a_served_action_that_differs_in_its_last_bit_is_an_error():
    expected = np.array([0.5, -0.5], np.float32)
    frames = [(np.zeros((64, 64, 3), np.uint8), np.zeros(6, np.float32))]
    almost = np.nextafter(expected, np.float32(1))
    turn("ours", lambda *_: expected, frames, [expected], calls=1)
    with pytest.raises(ServedWrong, match="ours answered"):
        turn("ours", lambda *_: almost, frames, [expected], calls=1)


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return echo_policy(tmp_path_factory.mktemp("serving") / "policy.onnx")


@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")  # of openpi-client
@pytest.mark.parametrize("name", ["openpi", "groot", "grpc"])
def test_a_peer_serves_the_very_action_of_the_policy(policy, name):
    pytest.importorskip("websockets" if name == "openpi" else "grpc", reason="needs the bench extra")
    image, state = np.full((64, 64, 3), 51, np.uint8), np.linspace(-1, 1, 6, dtype=np.float32)
    with server("benchmarks.serving_peers", name, str(policy)) as process:
        client = PEERS[name].client(port_of(process))
        served = client.ask(image, state)
        client.close()
    assert served.tobytes() == OnnxPolicy.load(policy)(image, state).tobytes()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_ends_with_one_json_object(policy):
    pytest.importorskip("websockets", reason="needs the bench extra")
    pytest.importorskip("grpc", reason="needs the bench extra")
    command = ["-m", "benchmarks.serving", "--json", "--policy", str(policy), "--rounds", "2", "--kills", "1"]
    run = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout.splitlines()[-1]).keys() >= KEYS
