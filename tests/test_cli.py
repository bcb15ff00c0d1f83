"""The command line: quick, complete, and one line on what is wrong with the input."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import agent.training.train
from agent.algorithms import ALGORITHMS
from lapwing import COMMANDS, main

HEAVY = {"torch", "gymnasium", "pybullet", "tyro", "rich", "numpy", "msgspec", "zmq", "onnxruntime", "cv2", "jaxtyping"}
UNITS = {  # of each command, some options and what --help says of them
    "play": {"--scenario": "worlds", "--vehicle": "city_car", "--road-seed": "first road"},
    "record": {"--episode-frames": "frames", "--steering-std": "full lock", "--correlation": "10 Hz"},
    "dataset": {},
    "probe": {"--frames": "held-out", "--out": "folder", "--scenario": "worlds"},
    "pretrain": {"--steps": "gradient steps", "--batch": "frames", "--threads": "threads"},
    "train": {"--length-m": "metres", "--replay-capacity": "transitions", "--noise.half-life": "episodes"},
    "act": {"--learner": "host", "--keys": "clients/NAME", "--first": "number"},
    "sweep": {"--out": "folder", "--seeds": "every combination", "--jobs": "at once", "--launcher": "Ray"},
    "teach": {"--period-s": "control cycle", "--speed": "real time", "--safety.reaction-s": "taking over"},
    "plot": {"--out": "picture"},
    "evaluate": {"--run": "folder", "--out": "file"},
    "export": {"--frames": "random inputs", "--variants": "int8, float16"},
    "serve": {"--policy": "ONNX", "--bind": "address", "--dashboard": "port"},
    "drive": {"--record": "dataset", "--deadline-s": "s from", "--watchdog-s": "s without", "--length-m": "m, length"},
    "dashboard": {"--run": "folder", "--port": "loopback"},
    "replay": {"--policy": "ONNX", "--tolerance": "actions"},
    "report": {"--run": "folder"},
    "demo": {"--seed": "road", "--out": "folder"},
    "keys": {"--clients": "machines"},
}


def help_of(command: str, capsys) -> str:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    return re.sub(r"[\s│]+", " ", capsys.readouterr().out)


# -- help


def test_help_lists_every_command_with_one_line(capsys):
    assert main(["--help"]) == 0
    listed = re.findall(r"^  (\w+) +(\S.*\.)$", capsys.readouterr().out, re.MULTILINE)
    assert dict(listed).keys() == COMMANDS.keys()
    assert list(COMMANDS) == [
        "play",
        "record",
        "dataset",
        "pretrain",
        "probe",
        "train",
        "act",
        "sweep",
        "teach",
        "plot",
        "evaluate",
        "export",
        "serve",
        "drive",
        "dashboard",
        "replay",
        "report",
        "demo",
        "keys",
    ]


def test_no_command_at_all_is_a_question_for_help(capsys):
    assert main([]) == 0
    assert "usage: lapwing" in capsys.readouterr().out


def test_help_loads_nothing_that_it_does_not_use():
    script = "import sys, lapwing; lapwing.main(['--help']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    packages = {name.split(".")[0] for name in loaded.splitlines()[-1].split()}
    assert packages.isdisjoint(HEAVY)
    assert packages.isdisjoint({"agent", "deploy", "perception", "sim"})


def test_help_costs_little_more_than_starting_python():
    """Counted in modules, which does not depend on how busy the machine is."""
    bare, ours = (
        int(
            subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()[
                -1
            ]
        )
        for script in (
            "import sys; print(len(sys.modules))",
            "import sys, lapwing; lapwing.main(['--help']); print(len(sys.modules))",
        )
    )
    assert ours - bare < 40


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_options_and_their_units(command, capsys):
    text = help_of(command, capsys)
    assert COMMANDS[command].__doc__.rstrip(".") in text
    for option, unit in UNITS[command].items():
        explained = text[text.rindex(f"{option} ") :]
        assert unit in explained[: explained.index("(default")]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_goes_without_an_explanation(command, capsys):
    text = help_of(command, capsys)
    unexplained = re.findall(r"(--[\w.-]+) (?:PATH|STR|INT|FLOAT|\[INT \[INT \.\.\.\]\]) \(default", text)
    assert unexplained == []


# -- options


@pytest.mark.parametrize(("option", "name", "known"), [("vehicle", "lorry", "racecar"), ("scenario", "moon", "wild")])
def test_an_unknown_vehicle_or_scenario_is_named_and_the_known_ones_too(option, name, known, complaint):
    said = complaint("play", f"--{option}", name)
    assert name in said
    assert known in said


def test_an_unknown_algorithm_is_named_and_the_known_ones_too(complaint):
    said = complaint("train", "--algo", "sac")
    assert all(name in said for name in ("sac", *ALGORITHMS))


def test_an_unknown_command_is_named_and_the_known_ones_too(complaint):
    said = complaint("fly")
    assert "fly" in said
    assert all(command in said for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_named(command, complaint):
    said = complaint(command, "--fly", "high")
    assert "--fly" in said
    assert f"lapwing {command} --help" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--max-episodes", "many"),
        ("train", "--ratio.per-step", "fast"),
        ("drive", "--deadline-s", "soon"),
        ("teach", "--safety.driver", "nobody"),
        ("record", "--frames", "1.5"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(arguments, complaint):
    said = complaint(*arguments)
    assert arguments[1] in said
    assert arguments[2] in said


def test_an_option_without_its_value_is_named(complaint):
    assert "--max-episodes" in complaint("train", "--max-episodes")


def test_a_mistake_in_our_own_code_is_not_taken_for_bad_input(monkeypatch):
    def broken(arguments: list[str]) -> None:
        raise ValueError("a bug")

    monkeypatch.setitem(COMMANDS, "drive", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["drive"])


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    def interrupted(arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "drive", interrupted)
    assert main(["drive"]) == 130
    assert capsys.readouterr().err == "lapwing drive: interrupted\n"


# -- as a process


def lapwing(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "lapwing", *arguments], capture_output=True, text=True, timeout=100)


def test_bad_input_ends_a_process_with_code_2_and_one_line(tmp_path):
    for arguments in (["fly"], ["serve", "--policy", str(tmp_path / "none.onnx")]):
        ended = lapwing(*arguments)
        assert ended.returncode == 2
        assert ended.stdout == ""
        assert ended.stderr.startswith("lapwing: ")
        assert ended.stderr.count("\n") == 1


def test_the_installed_command_is_this_one():
    script = Path(sys.executable).with_name("lapwing")
    ended = subprocess.run([script, "--help"], capture_output=True, text=True, check=True, cwd=os.sep)
    assert ended.stdout.startswith("usage: lapwing COMMAND")


def test_a_config_is_what_the_options_say(monkeypatch, tmp_path):
    parsed = []

    class Solved:
        solved = True

    monkeypatch.setattr(agent.training.train, "train", lambda config, console: parsed.append(config) or Solved())
    assert main(["train", "--out", str(tmp_path), "--length-m", "30", "--ddpg.gamma", "0.9"]) == 0
    (config,) = parsed
    assert (config.out, config.length_m, config.ddpg.gamma) == (tmp_path, 30.0, 0.9)
    Solved.solved = False
    assert main(["train"]) == 1


# -- any Gymnasium environment


def test_train_without_an_encoder_learns_any_environment_and_plot_shows_it(tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--steps", "250", "--start-steps", "200", "--evaluate-every", "200", "--evaluation-episodes", "1"]
    arguments = ["train", "--env", "Pendulum-v1", "--encoder", "none", "--algo", "ddpg", *options, "--out", str(run)]
    assert main(arguments) == 0
    assert {"config.json", "episodes.csv", "evaluations.csv"} <= {path.name for path in run.iterdir()}
    assert main(["plot", str(run), "--out", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_environment_that_there_is_not_is_named(complaint):
    assert "Pendulum-v77" in complaint("train", "--encoder", "none", "--env", "Pendulum-v77")
