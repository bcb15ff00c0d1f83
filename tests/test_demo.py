"""The whole way through the house: random episodes, VAE, training, table, ONNX, server, drive, report."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

import agent.demo
from agent.demo import DemoConfig, demo
from agent.results.evaluate import Row
from agent.training.ratio import Ratio
from deploy.policy import OnnxPolicy

MADE = (
    "episodes/shard-00000.arrow",
    "vae/vae.safetensors",
    "vae/reconstructions.png",
    "train/actor.safetensors",
    "train/config.json",
    "train/episodes.csv",
    "train/vae.safetensors",
    "table1.json",
    "policy.onnx",
    "serve.log",
    "drive/drive.mcap",
    "drive/drive.json",
    "report.html",
)


@pytest.fixture
def _in_miniature(monkeypatch) -> None:
    """A few frames, a short route, two episodes; every stage is the real one."""

    def shrink(name: str, **options: object) -> None:
        monkeypatch.setattr(agent.demo, name, partial(getattr(agent.demo, name), **options))

    shrink("RecordConfig", frames=400)
    shrink("PretrainConfig", steps=5)
    shrink("TrainConfig", length_m=6.0, max_episodes=2, ratio=Ratio(2.0, 0.0))
    child, lengths = agent.demo.child, {"drive": ("--length-m", "6")}
    monkeypatch.setattr(agent.demo, "child", lambda name, *rest, **kw: child(name, *rest, *lengths.get(name, ()), **kw))


def check(out: Path) -> None:
    """All is there, whole, and of one piece."""
    missing = [name for name in MADE if not (out / name).exists()]
    assert missing == []
    assert list(out.rglob("*.part")) == []
    rows = msgspec.json.decode((out / "table1.json").read_bytes(), type=list[Row])
    assert [row.policy for row in rows] == ["Random policy", "Zero policy", "DDPG, VAE"]
    policy = OnnxPolicy.load(out / "policy.onnx")
    assert policy.id in (out / "serve.log").read_text()
    page = (out / "report.html").read_text()
    for title in ("Learning curve", "Table I", "What the VAE sees", "The route", "Round trip"):
        assert title in page
    assert page.count("data:image/png;base64") >= 4
    assert 'src="http' not in page  # self-contained


@pytest.mark.slow
@pytest.mark.usefixtures("_in_miniature")
def test_the_demo_in_miniature_makes_everything(tmp_path):
    config = DemoConfig(out=tmp_path / "demo", video=False)
    with (console := Console(width=120)).capture() as capture:
        drove = demo(config, console)
    check(config.out)
    summary = msgspec.json.decode((config.out / "drive/drive.json").read_bytes())
    assert drove == (summary["finished"] and summary["disengagement"] is None)
    said = capture.get()
    assert [f"{stage}/7" in said for stage in range(1, 8)] == [True] * 7
    assert ("did not drive" in said) == (not drove)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_learns_to_drive_from_nothing(tmp_path):
    out = tmp_path / "demo"
    arguments = ["demo", "--seed", "0", "--out", str(out)]
    ended = subprocess.run([sys.executable, "-m", "lapwing", *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    check(out)
    assert (out / "drive/drive.mp4").stat().st_size > 10_000
    summary = msgspec.json.decode((out / "drive/drive.json").read_bytes())
    assert summary["finished"]
    assert summary["disengagement"] is None
    assert summary["distance_m"] > 245
