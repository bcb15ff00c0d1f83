"""`lapwing demo`: the whole main job, from random episodes to a car that drives by a served policy."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console

from agent.export.export import ExportConfig, export
from agent.results.evaluate import EvaluateConfig, evaluate
from agent.results.report import ReportConfig, report
from agent.training.train import TrainConfig, train
from perception.episodes import RecordConfig, record
from perception.pretrain import PretrainConfig, pretrain


@dataclass(frozen=True)
class DemoConfig:
    """Learn to drive from nothing, drive 250 m over ZeroMQ, and write a report."""

    out: Path = Path("runs/demo")  # folder for all that is made
    seed: int = 0  # of the road, the random episodes, the networks and the noise
    video: bool = True  # film the drive


def demo(config: DemoConfig, console: Console) -> bool:
    """Run all commands in a row; True if the exported policy drove the whole route without a disengagement."""
    out, seed, began = config.out, config.seed, time.monotonic()

    def stage(number: int, title: str) -> None:
        minutes = (time.monotonic() - began) / 60
        console.rule(f"{number}/7  {title}  [dim]after {minutes:.1f} min[/]", align="left")

    stage(1, "record random episodes")
    record(RecordConfig(out=out / "episodes", seed=seed))
    stage(2, "pretrain the VAE")
    pretrain(PretrainConfig(dataset=out / "episodes", out=out / "vae", seed=seed))
    stage(3, "learn to drive")
    train(
        TrainConfig(
            encoder=out / "vae/vae.safetensors",
            episodes=out / "episodes",
            out=out / "train",
            road_seed=seed,
            seed=seed,
        ),
        console,
    )
    stage(4, "evaluate")
    evaluate(EvaluateConfig(run=out / "train", out=out / "table1.json", seed=seed), console)
    stage(5, "export")
    export(ExportConfig(run=out / "train", out=out / "policy.onnx"), console)
    stage(6, "serve the policy and drive in real time")
    drove = drive_served(config)
    stage(7, "report")
    report(ReportConfig(run=out), console)
    minutes = (time.monotonic() - began) / 60
    console.print(
        f"[bold]{'drove the whole route' if drove else 'did not drive the whole route'}[/] after {minutes:.1f} min"
    )
    return drove


def drive_served(config: DemoConfig) -> bool:
    """Serve the exported policy in one process and drive with it in another; True if the drive succeeded."""
    out = config.out
    with tempfile.TemporaryDirectory(prefix="lapwing-") as folder, (out / "serve.log").open("w") as log:
        address = f"ipc://{folder}/policy"
        drive = ["--server", address, "--out", str(out / "drive"), "--road-seed", str(config.seed)]
        drive += [] if config.video else ["--no-video"]
        serve = ["--policy", str(out / "policy.onnx"), "--bind", address]
        with child("serve", *serve, output=log), child("drive", *drive) as driving:
            return driving.wait() == 0


@contextmanager
def child(*arguments: str, output: IO[str] | None = None) -> Iterator[subprocess.Popen]:
    """Another lapwing command in a process of its own, which ends with this block."""
    process = subprocess.Popen([sys.executable, "-m", "lapwing", *arguments], stdout=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
