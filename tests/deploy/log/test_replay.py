"""A replay finds every difference between a drive and what today's code makes of it, and none where there is none."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from deploy.driving.faults import Fault
from deploy.driving.safety import Inputs, step
from deploy.log.entries import DriveFacts, Entry, LogError
from deploy.log.replay import ReplayConfig, replay
from deploy.log.writer import DriveLog
from deploy.observation import StateVector
from deploy.policy import OnnxPolicy
from deploy.policy_spec import PolicyError
from lapwing import main
from tests.deploy.entries import FACTS, entry, image, write_log
from tests.deploy.policies import SPEC, constant_policy, echo_policy

SILENT = Fault("silent", "silent")


def ticks(silent: tuple[int, ...] = (6, 7, 8, 9), asks: dict[int, tuple] | None = None) -> Iterator[Entry]:
    """A car at 1 m/s that drives by the echo policy, with silences and what people ask for."""
    memory, vector = FACTS.start, StateVector(SPEC.top_speed_mps, SPEC.max_steering_rad, SPEC.history)
    for tick in range(1, 31):
        state = vector.assemble(1.0, 0.1)
        action = None if tick in silent else (float(image(tick)[0, 0, 0] / np.float32(255)), float(state[0]))
        now_s = tick * 0.1
        fault = None if action else SILENT
        inputs = Inputs(now_s + 0.01, now_s, 1.0, action, fault, (asks or {}).get(tick, ()))
        memory = step(memory, inputs, FACTS.limits)
        sent = np.array([memory.command.steering, memory.command.speed], np.float32)
        vector.executed(sent)
        yield entry(
            tick,
            steering_rad=0.1,
            state=state.tolist(),
            action=action,
            inputs=inputs,
            safety=memory.state,
            command=memory.command,
            sent=tuple(sent.tolist()),
        )


def logged(folder: Path, facts: DriveFacts = FACTS, **changes: object) -> Path:
    """A drive's log; with `changes` of its tenth tick."""
    entries = list(ticks())
    entries[9] = msgspec.structs.replace(entries[9], **changes)
    return write_log(folder / "drive", entries, facts)


@pytest.fixture
def echo(tmp_path) -> Path:
    return echo_policy(tmp_path / "echo.onnx")


def told(log: Path, policy: Path | None = None, tolerance: float = 0.0) -> tuple[bool, str]:
    with (console := Console(width=200)).capture() as capture:
        same = replay(ReplayConfig(log, policy, tolerance), console)
    return same, capture.get()


def row(said: str, name: str) -> list[str]:
    """The cells of the table's row of that name."""
    (line,) = re.findall(rf"^│ {re.escape(name)} .*$", said, re.MULTILINE)
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def test_of_a_policy_that_drove_only_its_own_answers_are_compared_and_of_a_new_one_all(tmp_path, echo):
    """The server went over to another policy after the 20th tick; the first 20 have 16 answers, all have 26."""
    drove = OnnxPolicy.load(echo).id
    entries = [msgspec.structs.replace(each, policy_id=drove if each.tick <= 20 else "other") for each in ticks()]
    log = write_log(tmp_path / "drive", entries)
    other = constant_policy(tmp_path / "constant.onnx", 0.25, 0.0)
    assert row(told(log, echo)[1], "action") == ["16", "0", "–"]
    assert row(told(log, other)[1], "action")[:2] == ["26", "26"]


def test_a_drive_is_the_same_to_the_bit(tmp_path, echo):
    same, said = told(logged(tmp_path), echo)
    assert same
    for part, count in (("safety state", "30"), ("command", "30"), ("observation", "30"), ("action", "26")):
        assert row(said, part) == [count, "0", "–"]
    assert row(said, "steering") == ["0", "0", "0"]
    # driving at the third good answer; silence: degraded, safe_stop; the car is not at rest by the end
    assert "the same: 30 ticks, 3 changes of state" in said


@pytest.mark.parametrize(
    ("part", "changes", "found"),
    [
        ("safety state", {"safety": "e_stop"}, "safe_stop, logged e_stop"),
        (
            "command",
            {"command": msgspec.structs.replace(entry(1).command, steering=0.5)},
            "logged Command(steering=0.5",
        ),
        ("observation", {"state": [0.0] * 6}, "logged [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"),
        ("action", {"action": (0.25, -1.0)}, "logged (0.25, -1.0)"),
    ],
)
def test_each_part_that_comes_out_otherwise_is_named_with_its_first_tick(tmp_path, echo, part, changes, found):
    same, said = told(logged(tmp_path, **changes), echo)
    assert not same
    _, otherwise, first = row(said, part)
    assert otherwise == "1"
    assert first.startswith("tick 10, 1.00 s: ")
    assert found.replace(" ", "") in said.replace(" ", "")
    assert "not the same" in said


def test_a_sent_command_that_was_another_changes_the_next_observations(tmp_path):
    same, said = told(logged(tmp_path, sent=(0.9, 0.9)))
    assert not same
    assert row(said, "observation")[1] == "2"  # it is in the history of the next two
    assert row(said, "observation")[2].startswith("tick 11")


def test_other_limits_are_another_machine(tmp_path):
    facts = msgspec.structs.replace(FACTS, limits=msgspec.structs.replace(FACTS.limits, recovery_cycles=4))
    same, said = told(logged(tmp_path, facts))
    assert not same
    assert row(said, "safety state")[2].startswith("tick 3, 0.30 s: standby, logged driving")


def test_another_policy_shows_how_it_would_have_acted(tmp_path):
    other = constant_policy(tmp_path / "other.onnx", steering=0.5, speed=-0.5)
    log = logged(tmp_path)
    steering = np.array([abs(float(image(e.tick)[0, 0, 0] / np.float32(255)) - 0.5) for e in ticks() if e.action])
    same, said = told(log, other)
    assert not same
    expected = [steering.mean(), np.percentile(steering, 99), steering.max()]
    assert [float(cell) for cell in row(said, "steering")] == pytest.approx(expected, rel=5e-3)
    speed = abs(1.0 / SPEC.top_speed_mps + 0.5)
    assert [float(cell) for cell in row(said, "speed")] == pytest.approx([speed] * 3, rel=5e-3)
    assert row(said, "safety state")[1] == "0"  # it acts by what was logged
    assert "instead of abc" in said
    assert not told(log, other, tolerance=speed - 0.01)[0]
    assert told(log, other, tolerance=speed + 0.01)[0]


def test_without_a_policy_the_rest_is_replayed_and_said_to_be(tmp_path):
    same, said = told(logged(tmp_path))
    assert same
    assert "no policy asked; name it by --policy" in said
    assert "│ action" not in said


def test_the_policy_that_drove_in_the_cars_own_process_is_found_by_itself(tmp_path, echo):
    facts = msgspec.structs.replace(FACTS, config={"policy": str(echo)})
    assert row(told(logged(tmp_path, facts))[1], "action")[0] == "26"


def test_a_policy_that_does_not_fit_the_log_is_an_error(tmp_path):
    log = logged(tmp_path)
    small = echo_policy(
        tmp_path / "s.onnx", msgspec.structs.replace(SPEC, image_height=32, image_width=32), image=(32, 32, 3)
    )
    with pytest.raises(PolicyError, match="image_height"):
        told(log, small)
    facts = msgspec.structs.replace(FACTS, spec=msgspec.structs.replace(SPEC, history=3))
    with pytest.raises(PolicyError, match="history is 2, the log's is 3"):
        told(write_log(tmp_path / "other", [], facts), echo_policy(tmp_path / "e.onnx"))


def test_a_log_with_nothing_to_compare_does_not_pass(tmp_path, echo):
    empty = write_log(tmp_path / "empty", [])
    silent = write_log(tmp_path / "silent", list(ticks(silent=tuple(range(31)))))
    with pytest.raises(LogError, match="nothing to compare: no tick"):
        told(empty)
    with pytest.raises(LogError, match="nothing to compare: no action"):
        told(silent, echo)
    assert told(silent)[0]


def test_an_answer_to_a_frame_that_was_not_kept_is_an_error(tmp_path, echo):
    with DriveLog(tmp_path / "drive", FACTS) as log:
        log.write(entry(1), np.zeros((0, 0, 3), np.uint8))
    with pytest.raises(LogError, match="no camera image of tick 1"):
        told(log.path, echo)


def test_a_policy_that_answers_nothing_finite_does_so_again(tmp_path):
    broken = constant_policy(tmp_path / "nan.onnx", steering=float("nan"), speed=0.5)
    nan = (float("nan"), 0.5)
    entries = [msgspec.structs.replace(each, action=nan) if each.action else each for each in ticks()]
    assert told(write_log(tmp_path / "drive", entries), broken)[0]
    assert not told(logged(tmp_path), broken, tolerance=2.0)[0]


def test_the_command_line_says_it_by_its_exit_code(tmp_path, echo, capsys):
    good, bad = logged(tmp_path / "good"), logged(tmp_path / "bad", safety="e_stop")
    assert main(["replay", str(good), "--policy", str(echo)]) == 0
    assert main(["replay", str(bad), "--policy", str(echo)]) == 1
    capsys.readouterr()
    assert main(["replay", str(tmp_path / "none.mcap")]) == 2
    assert main(["replay", str(good), "--policy", str(tmp_path / "none.onnx")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
