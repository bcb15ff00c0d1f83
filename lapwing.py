"""The command line, one function per command; each imports its room only when it is called."""

import contextlib
import io
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.sync.config import SyncConfig
    from agent.training.config import TrainConfig

# ruff: noqa: T201 (a command line prints, and loads nothing that it does not use)


def play(arguments: list[str]) -> None:
    """Drive the simulated car by keyboard."""
    from rich.console import Console

    from sim.play import PlayConfig, play

    config = _parse(PlayConfig, "play", arguments)
    if config.record is None:
        return play(config, Console())
    from perception.recorder import Recorder
    from sim.vehicles import load_vehicle

    camera = load_vehicle(config.vehicle).camera
    settings = vars(config) | {"record": None}
    with Recorder(config.record, "play", (camera.height_px, camera.width_px), settings) as recorder:
        return play(config, Console(), recorder=recorder)


def record(arguments: list[str]) -> None:
    """Record random episodes on procedural roads, for the VAE."""
    from perception.episodes import RecordConfig, record

    record(_parse(RecordConfig, "record", arguments))


def dataset(arguments: list[str]) -> int:
    """Look at recorded episodes, check them, export them, or import a tub: info, check, export, import."""
    from rich.console import Console

    from perception.dataset_command import DatasetCommand, run

    return run(_parse(DatasetCommand, "dataset", arguments), Console())


def pretrain(arguments: list[str]) -> None:
    """Train the VAE, or another encoder, on recorded episodes."""
    from perception.pretrain import PretrainConfig, pretrain

    pretrain(_parse(PretrainConfig, "pretrain", arguments))


def probe(arguments: list[str]) -> None:
    """Say what an encoder's latent knows of the lane, on held-out roads."""
    from rich.console import Console

    from perception.probe import ProbeConfig, probe

    probe(_parse(ProbeConfig, "probe", arguments), Console())


def train(arguments: list[str]) -> int:
    """Learn to drive a route; with --encoder none, learn any Gymnasium environment in one process."""
    from rich.console import Console

    from agent.sync.config import SyncConfig

    config = train_config(arguments)
    if isinstance(config, SyncConfig):
        from agent.sync.train import train_sync

        train_sync(config, Console())
        return 0
    from agent.training.train import train

    return 0 if train(config, Console()).solved else 1


def act(arguments: list[str]) -> None:
    """Drive for a learner that trains on another machine."""
    from rich.console import Console

    from agent.actors.act import ActConfig, act

    act(_parse(ActConfig, "act", arguments), Console())


def sweep(arguments: list[str]) -> int:
    """Train with each seed and each combination of settings; after -- come options of lapwing train."""
    from rich.console import Console

    from agent.sweep.sweep import SweepConfig, sweep

    end = arguments.index("--") if "--" in arguments else len(arguments)
    config = _parse(SweepConfig, "sweep", arguments[:end])
    return 0 if sweep(config, arguments[end + 1 :], train_config, Console()) else 1


def teach(arguments: list[str]) -> int:
    """Teach a car its route, an episode at a time, while a safety driver watches."""
    from rich.console import Console

    from agent.teaching.config import TeachConfig
    from agent.teaching.teach import teach

    return 0 if teach(_parse(TeachConfig, "teach", arguments), Console()).policy else 1


def plot(arguments: list[str]) -> None:
    """Plot the learning curves of runs in one process, the seeds of an experiment together."""
    from rich.console import Console

    from agent.results.plot import PlotConfig, plot

    plot(_parse(PlotConfig, "plot", arguments), Console())


def evaluate(arguments: list[str]) -> None:
    """Compare random, zero and learned policy on the route: the paper's Table I."""
    from rich.console import Console

    from agent.results.evaluate import EvaluateConfig, evaluate

    evaluate(_parse(EvaluateConfig, "evaluate", arguments), Console())


def export(arguments: list[str]) -> int:
    """Write encoder, actor and critic as one ONNX file, and less exact variants of it."""
    from rich.console import Console

    from agent.export.export import ExportConfig, export

    config = _parse(ExportConfig, "export", arguments)
    export(config, console := Console())
    if not config.variants:
        return 0
    from agent.export.variants import export_variants

    return 0 if export_variants(config, console) else 1


def serve(arguments: list[str]) -> None:
    """Serve an ONNX policy over ZeroMQ."""
    from deploy.policy_server.server import ServeConfig, serve

    serve(_parse(ServeConfig, "serve", arguments))


def drive(arguments: list[str]) -> int:
    """Drive a vehicle in real time with a served policy."""
    from deploy.driving.drive import DriveConfig, drive

    config = _parse(DriveConfig, "drive", arguments)
    if config.record is None:
        return 0 if drive(config).succeeded else 1
    from perception.recorder import recording_of

    return 0 if drive(config, recording_of(config.record, config.vehicle)).succeeded else 1


def dashboard(arguments: list[str]) -> None:
    """Watch a training run, finished or under way, on a web page."""
    from rich.console import Console

    from deploy.dashboard.command import DashboardConfig
    from deploy.dashboard.command import dashboard as show

    show(_parse(DashboardConfig, "dashboard", arguments), Console())


def replay(arguments: list[str]) -> int:
    """Drive a logged drive once more by policy and safety machine; 1 if it comes out otherwise."""
    from rich.console import Console

    from deploy.log.replay import ReplayConfig, replay

    return 0 if replay(_parse(ReplayConfig, "replay", arguments), Console()) else 1


def report(arguments: list[str]) -> None:
    """Gather a run's results in one self-contained HTML page."""
    from rich.console import Console

    from agent.results.report import ReportConfig, report

    report(_parse(ReportConfig, "report", arguments), Console())


def demo(arguments: list[str]) -> int:
    """Learn to drive from nothing, drive 250 m: record, pretrain, train, evaluate, export, serve, drive, report."""
    from rich.console import Console

    from agent.demo import DemoConfig, demo

    return 0 if demo(_parse(DemoConfig, "demo", arguments), Console()) else 1


def keys(arguments: list[str]) -> None:
    """Write keys, by which machines know each other and encrypt."""
    from rich.console import Console

    from deploy.keys import KeysConfig, write_keys

    write_keys(_parse(KeysConfig, "keys", arguments), Console())


COMMANDS = {
    command.__name__: command
    for command in (
        *(play, record, dataset, pretrain, probe, train, act, sweep, teach),
        *(plot, evaluate, export, serve, drive, dashboard, replay, report, demo, keys),
    )
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Exit codes: 0 done, 1 not achieved, 2 bad input (one line says what), 130 interrupted."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if name not in COMMANDS:
        return _complain(f"unknown command {name}; expected one of {', '.join(COMMANDS)}")
    try:
        return COMMANDS[name](rest) or 0
    except KeyboardInterrupt:
        print(f"lapwing {name}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if not hasattr(error, "exit_code") and not isinstance(error, OSError):  # a disk is full, a folder not ours
            raise
        return _complain(str(error))


def _overview() -> str:
    lines = [f"  {name:10}{command.__doc__}" for name, command in COMMANDS.items()]
    usage = "usage: lapwing COMMAND [--help] [OPTIONS]\n\nA camera car learns to drive.\n"
    return "\n".join([usage, *lines])


def _complain(message: str) -> int:
    """Say in one line what is wrong with the input."""
    print("lapwing: " + " ".join(message.split()), file=sys.stderr)
    return 2


def train_config(arguments: list[str]) -> "SyncConfig | TrainConfig":
    """Turn the options of `lapwing train` into the config of either kind of training."""
    for i, pair in enumerate(pairwise(arguments)):
        if pair == ("--encoder", "none"):
            from agent.sync.config import SyncConfig

            return _parse(SyncConfig, "train", arguments[:i] + arguments[i + 2 :])
    from agent.training.config import TrainConfig

    return _parse(TrainConfig, "train", arguments)


def _parse(config: Any, command: str, arguments: list[str]) -> Any:
    """Turn options into the command's config; a mistake is said in one line instead of tyro's box."""
    import tyro

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(config, prog=f"lapwing {command}", description=COMMANDS[command].__doc__, args=arguments)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise UsageError(f"{_first_sentence(complaint.getvalue())}; see lapwing {command} --help") from end


def _first_sentence(box: str) -> str:
    """The text of tyro's error box down to its first rule."""
    text = []
    for line in box.splitlines()[1:]:
        if "────" in line:
            break
        text.append(line.strip("│ "))
    return " ".join(text)


class UsageError(ValueError):
    """An option is unknown, missing or of the wrong kind."""

    exit_code = 2


if __name__ == "__main__":
    sys.exit(main())
