"""The command line: quick, complete, and one line on what is wrong with the input."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq

import agent.train
from agent.algorithms import ALGORITHMS
from deploy.policy import OnnxPolicy
from deploy.server import PolicyServer
from deploy.sockets import bind
from lapwing import COMMANDS, main
from perception.episodes import RecordConfig, record
from tests.agent.runs import write_encoder, write_run
from tests.deploy.policies import SPEC, echo_policy

HEAVY = {"torch", "gymnasium", "pybullet", "tyro", "rich", "numpy", "msgspec", "zmq", "onnxruntime", "cv2", "jaxtyping"}
UNITS = {  # of each command, some options and what --help says of them
    "play": {"--scenario": "worlds", "--vehicle": "city_car", "--road-seed": "first road"},
    "record": {"--episode-frames": "frames", "--steering-std": "full lock", "--correlation": "10 Hz"},
    "probe": {"--frames": "held-out", "--out": "folder", "--scenario": "worlds"},
    "pretrain": {"--steps": "gradient steps", "--batch": "frames", "--threads": "threads"},
    "train": {"--length-m": "metres", "--replay-capacity": "transitions", "--noise.half-life": "episodes"},
    "act": {"--learner": "host", "--keys": "clients/NAME", "--first": "number"},
    "sweep": {"--out": "folder", "--seeds": "every combination", "--jobs": "at once", "--launcher": "Ray"},
    "teach": {"--period-s": "control cycle", "--speed": "real time", "--safety.reaction-s": "taking over"},
    "plot": {"--out": "picture"},
    "evaluate": {"--run": "folder", "--out": "file"},
    "export": {"--frames": "random inputs"},
    "serve": {"--policy": "ONNX", "--bind": "address"},
    "drive": {"--deadline-s": "s from", "--watchdog-s": "s without", "--length-m": "m, length"},
    "report": {"--run": "folder"},
    "demo": {"--seed": "road", "--out": "folder"},
    "keys": {"--clients": "machines"},
}


@pytest.fixture
def complaint(capsys):
    """Runs a command that must fail; returns the one line it says on stderr."""

    def run(*arguments: str | Path) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        stderr = capsys.readouterr().err.strip()
        assert stderr.startswith("lapwing: ")
        assert "\n" not in stderr
        assert "Traceback" not in stderr
        return stderr

    return run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "episodes"
    record(RecordConfig(out=folder, frames=4))
    return folder


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return echo_policy(tmp_path_factory.mktemp("policy") / "policy.onnx")


def truncate(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


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


# -- files


def test_a_missing_dataset(complaint, tmp_path):
    assert str(tmp_path / "none") in complaint("pretrain", "--dataset", tmp_path / "none", "--out", tmp_path / "vae")
    assert not (tmp_path / "vae").exists()


def test_a_truncated_dataset(complaint, dataset, tmp_path):
    damaged = tmp_path / "episodes"
    damaged.mkdir()
    for file in dataset.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    episode = truncate(next(damaged.glob("*.npz")))
    assert str(episode) in complaint("pretrain", "--dataset", damaged, "--out", tmp_path / "vae")


@pytest.mark.parametrize("content", [None, b"", b"junk"])
def test_a_missing_or_damaged_vae(complaint, tmp_path, content):
    path = tmp_path / "vae.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert str(path) in complaint("train", "--encoder", path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_truncated_vae(complaint, tmp_path):
    path = truncate(write_encoder(tmp_path / "vae.safetensors"))
    assert str(path) in complaint("train", "--encoder", path, "--out", tmp_path / "out")


@pytest.mark.parametrize("command", ["evaluate", "export"])
@pytest.mark.parametrize("name", ["actor.safetensors", "vae.safetensors"])
def test_a_missing_or_truncated_checkpoint(complaint, tmp_path, command, name):
    run, out = write_run(tmp_path / "train"), tmp_path / "out"
    truncate(run / name)
    assert str(run / name) in complaint(command, "--run", run, "--out", out)
    (run / name).unlink()
    assert str(run / name) in complaint(command, "--run", run, "--out", out)
    assert not out.exists()


def test_a_missing_list_of_episodes(complaint, tmp_path):
    run = write_run(tmp_path / "train")
    (run / "episodes.csv").unlink()
    assert "episodes.csv" in complaint("evaluate", "--run", run, "--out", tmp_path / "out")


def test_a_report_of_nothing(complaint, tmp_path):
    assert str(tmp_path) in complaint("report", "--run", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_onnx_file(complaint, tmp_path):
    assert "none.onnx" in complaint("serve", "--policy", tmp_path / "none.onnx")


def test_a_truncated_onnx_file(complaint, policy, tmp_path):
    (path := tmp_path / "policy.onnx").write_bytes(policy.read_bytes())
    assert str(truncate(path)) in complaint("serve", "--policy", path)


# -- addresses


def test_a_port_already_in_use(complaint, policy):
    with zmq.Context() as context, closing(bind(context, zmq.ROUTER, "tcp://127.0.0.1:0")) as first:
        taken = first.getsockopt_string(zmq.LAST_ENDPOINT)
        said = complaint("serve", "--policy", policy, "--bind", taken)
    assert taken in said
    assert "in use" in said


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:5590", "tcp://*:5590", "tcp://192.168.1.2:5590"])
def test_an_address_beyond_loopback(complaint, policy, address):
    assert address in complaint("serve", "--policy", policy, "--bind", address)


def test_an_address_that_is_none(complaint):
    assert "nonsense" in complaint("drive", "--server", "nonsense")


def test_nobody_serves(complaint, tmp_path):
    arguments = ("--server", f"ipc://{tmp_path}/nobody", "--hello-s", "0.1", "--out", tmp_path / "drive")
    assert "lapwing serve" in complaint("drive", *arguments)
    assert not (tmp_path / "drive").exists()


# -- keys


def test_keys_are_written_where_the_command_says(tmp_path, capsys):
    assert main(["keys", str(tmp_path / "keys"), "--clients", "car", "robot"]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^(\S+): for the machine", said, re.MULTILINE) == [
        str(tmp_path / "keys" / folder) for folder in ("server", "clients/car", "clients/robot")
    ]


@pytest.mark.parametrize("name", ["../car", "", "a/b", ".", "a b"])
def test_a_client_that_cannot_be_a_folder(complaint, tmp_path, name):
    assert repr(name) in complaint("keys", tmp_path / "keys", "--clients", name)
    assert not (tmp_path / "keys").exists()


# -- policy and vehicle


@contextmanager
def served(policy: OnnxPolicy, address: str) -> Iterator[None]:
    """The policy behind a real socket, in a thread."""
    over = threading.Event()
    with zmq.Context() as context, closing(bind(context, zmq.ROUTER, address, queue=64)) as socket:

        def turns() -> None:
            server = PolicyServer(policy, socket)
            while not over.is_set():
                if socket.poll(20):
                    server.turn()

        thread = threading.Thread(target=turns)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    ("field", "value"), [("top_speed_mps", 5.0), ("max_steering_rad", 0.3), ("image_height", 32), ("image_width", 128)]
)
def test_a_policy_that_was_trained_for_another_vehicle(complaint, tmp_path, field, value):
    spec = msgspec.structs.replace(SPEC, **{field: value})
    path = echo_policy(tmp_path / "p.onnx", spec, image=(spec.image_height, spec.image_width, 3))
    address = f"ipc://{tmp_path}/s"
    with served(OnnxPolicy.load(path), address):
        said = complaint("drive", "--server", address, "--out", tmp_path / "drive", "--no-video")
    assert field in said
    assert f"{value:g}" in said
    assert not (tmp_path / "drive").exists()


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

    monkeypatch.setattr(agent.train, "train", lambda config, console: parsed.append(config) or Solved())
    assert main(["train", "--out", str(tmp_path), "--length-m", "30", "--ddpg.gamma", "0.9"]) == 0
    (config,) = parsed
    assert (config.out, config.length_m, config.ddpg.gamma) == (tmp_path, 30.0, 0.9)
    Solved.solved = False
    assert main(["train"]) == 1


def test_a_folder_that_cannot_be_written(complaint, tmp_path):
    (tmp_path / "file").touch()
    assert "file" in complaint("record", "--frames", 10, "--out", tmp_path / "file" / "episodes")


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
