"""Training end to end, in miniature: real road, real sockets, real processes; and what Ctrl-C leaves behind."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent.algorithms import ALGORITHMS
from agent.algorithms.ddpg import DDPGConfig
from agent.algorithms.td3 import TD3Config
from agent.checkpoint import load_actor, load_policy
from agent.export.export import ExportConfig, export
from agent.results.evaluate import EvaluateConfig, evaluate
from agent.settings import SettingsError
from agent.snapshot import SnapshotError, load_newest
from agent.training.config import TrainConfig
from agent.training.course import Progress
from agent.training.online import OnlineConfig
from agent.training.ratio import Ratio
from agent.training.train import train
from deploy.policy import OnnxPolicy
from deploy.wire import EpisodeReport
from perception.dataset import Dataset
from perception.encoders import EncoderError, load_encoder
from perception.encoders.vae import VAEConfig
from perception.files import FolderInUseError, alone_in
from perception.shards import DatasetError
from perception.sight import LEARNED, ONLINE, PIXELS
from tests.agent.processes import training, until_it_drives


def told(kind: str, distance_m: float = 0.0, finished: bool = False) -> EpisodeReport:
    return EpisodeReport(
        actor=0,
        car=0,
        episode=0,
        kind=kind,
        steps=1,
        distance_m=distance_m,
        reward=0.0,
        disengagement=None,
        finished=finished,
        version=1,
        wall_s=1.0,
    )


def test_it_is_solved_by_passes_in_a_row():
    progress, over = Progress(passes_wanted=2, max_episodes=10), []
    for finished in (True, False, True, True):
        progress.add(told("train"))
        progress.add(told("test", 12.0, finished))
        over.append(progress.over)
    assert over == [False, False, False, True]
    assert progress.solved


def test_it_gives_up_after_its_episodes():
    progress = Progress(passes_wanted=2, max_episodes=3)
    for _ in range(3):
        assert not progress.over
        progress.add(told("train"))
        progress.add(told("test"))
    assert progress.over
    assert not progress.solved


def test_the_snapshot_to_keep_is_that_of_a_test_that_none_outdid():
    progress = Progress(passes_wanted=2, max_episodes=10)
    assert [progress.add(told("test", distance)) for distance in (0.0, 5.0, 4.0, 5.0)] == [True, True, False, True]
    assert not progress.add(told("train", 100.0))
    assert progress.add(told("test", 4.9, finished=True))


def test_a_missing_encoder_is_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(EncoderError, match=r"none\.safetensors"):
        train(TrainConfig(encoder=tmp_path / "none.safetensors", out=tmp_path / "out"), Console(quiet=True))
    assert not (tmp_path / "out").exists()


def test_a_missing_dataset_is_an_error_before_anything_is_written(encoder, tmp_path):
    with pytest.raises(DatasetError, match="none"):
        train(TrainConfig(encoder=encoder, episodes=tmp_path / "none", out=tmp_path / "out"), Console(quiet=True))
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be_are_an_error_before_anything_is_written(encoder, tmp_path):
    config = TrainConfig(encoder=encoder, out=tmp_path / "out", algo="d4pg")
    with pytest.raises(SettingsError, match=r"d4pg\.gamma is 1"):
        train(replace(config, d4pg=replace(config.d4pg, gamma=1.0)), Console(quiet=True))
    assert not (tmp_path / "out").exists()


def check_curves(folder: Path) -> None:
    events = EventAccumulator(str(folder)).Reload()
    names = set(events.Tags()["scalars"])
    learner = {"critic_loss", "actor_loss", "q_mean", "q_max", "td_error", "saturation", "updates_per_s", "steps_per_s"}
    learner |= {"dropped_messages", "malformed_messages"}
    assert {f"learner/{name}" for name in (*learner, "actor_grad_norm", "critic_grad_norm")} <= names
    for kind in ("train", "test"):
        assert {f"{kind}/{name}" for name in ("return", "length", "distance_m", "weight_staleness")} <= names
        assert len(events.Scalars(f"{kind}/return")) == 2
        assert min(event.value for event in events.Scalars(f"{kind}/weight_staleness")) >= 0


@pytest.mark.parametrize(
    "algo", [algo if algo == "ddpg" else pytest.param(algo, marks=pytest.mark.slow) for algo in ALGORITHMS]
)
def test_training_leaves_a_whole_run(algo, encoder, dataset, tmp_path):
    out = tmp_path / "runs" / "mine"
    config = TrainConfig(
        algo=algo,
        encoder=encoder,
        episodes=dataset,
        out=out,
        length_m=12.0,
        max_episodes=2,
        passes=3,
        ratio=Ratio(3.0, 0.05, band=0),
    )
    with (console := Console(width=120)).capture() as capture:
        progress = train(config, console)
    assert sorted(path.name for path in out.iterdir()) == [
        "actor.safetensors",
        "config.json",
        "episodes.csv",
        "facts.json",
        "tensorboard",
        "vae.onnx",
        "vae.safetensors",
    ]
    check_curves(out / "tensorboard")
    assert not progress.solved
    assert capture.get().count("episode") == 2
    assert (out / "vae.safetensors").read_bytes() == encoder.read_bytes()
    check_config(json.loads((out / "config.json").read_text()), algo)
    with (out / "episodes.csv").open() as file:
        check_episodes(list(csv.DictReader(file)), random_transitions(dataset))
    actor, facts, value = load_policy(out / "actor.safetensors")
    assert (facts.run, facts.length_m, facts.obs_size, facts.period_s) == ("mine", 12.0, 32 + 6, 0.1)
    assert (facts.algo, facts.hidden, facts.norm, facts.activation) == (algo, (128, 128), "layer", "relu")
    assert torch.isfinite(actor(torch.zeros(1, 38))).all()
    assert value is not None
    assert -1 < value(torch.zeros(1, 38), torch.zeros(1, 2)).item() < 6  # m; D4PG's atoms, and what a car can return


def check_config(written: dict, algo: str) -> None:
    assert (written["length_m"], written["max_episodes"], written["passes"]) == (12.0, 2, 3)
    assert written["ratio"] == {"per_episode": 3.0, "per_step": 0.05, "band": 0}
    assert written["algo"] == algo
    assert written[algo]["gamma"] == 0.95


@pytest.mark.parametrize(
    "changes",
    [
        {"algo": "ddpg", "ddpg": DDPGConfig(hidden=(8,), actor_norm="batch")},
        {"algo": "td3", "td3": TD3Config(hidden=(8, 8), actor_norm="none", activation="tanh")},
    ],
    ids=["batch norm", "no norm"],
)
def test_an_actor_of_another_make_drives_and_comes_back(changes, encoder, dataset, tmp_path):
    config = TrainConfig(encoder=encoder, episodes=dataset, out=tmp_path, length_m=6.0, max_episodes=1, **changes)
    train(replace(config, ratio=Ratio(3.0, 0.0)), Console(quiet=True))
    actor, facts = load_actor(tmp_path / "actor.safetensors")
    assert (facts.norm, facts.activation) == (config.settings.actor_norm, config.settings.activation)
    assert torch.isfinite(actor(torch.zeros(1, 38))).all()  # one observation, which batch statistics would refuse


def random_transitions(dataset: Path) -> int:
    """Of a dataset, as lived and mirrored."""
    return 2 * sum(len(episode.rewards) for episode in Dataset(dataset).episodes())


def check_episodes(rows: list[dict[str, str]], random: int) -> None:
    assert [(row["kind"], row["episode"]) for row in rows][::2] == [("train", "0"), ("train", "1")]
    assert [row["kind"] for row in rows][1::2] == ["test", "test"]
    for row in rows:
        assert 0 <= float(row["distance_m"]) <= 13
        assert float(row["reward"]) == pytest.approx(float(row["distance_m"]), abs=0.5)  # progress is the reward
    steps = [int(row["steps"]) for row in rows if row["kind"] == "train"]
    assert int(rows[1]["updates"]) == int(3 + 0.05 * (random + 2 * steps[0]))  # the test waited for exactly these
    assert int(rows[3]["updates"]) == int(6 + 0.05 * (random + 2 * sum(steps)))


@pytest.mark.slow
def test_a_run_that_is_over_is_over_when_it_is_resumed(encoder, dataset, tmp_path):
    config = TrainConfig(encoder=encoder, episodes=dataset, out=tmp_path, length_m=6.0, max_episodes=1)
    config = replace(config, ratio=Ratio(3.0, 0.0, band=0), checkpoint_every=1)
    first = train(config, Console(quiet=True))
    assert train(replace(config, resume=True), Console(quiet=True)) == first


@pytest.mark.slow
def test_several_actors_drive_and_the_first_tests(encoder, dataset, tmp_path):
    out = tmp_path / "out"

    def driven() -> list[tuple[str, str]]:
        with (out / "episodes.csv").open() as file:
            return [(row["actor"], row["kind"]) for row in csv.DictReader(file)]

    with training(encoder, dataset, out, "--actors", "2") as process:
        until_it_drives(process, out)
        while not {("0", "train"), ("1", "train"), ("0", "test")} <= set(driven()):
            assert process.stdout.readline(), process.stderr.read()  # a line per test
        assert ("1", "test") not in driven()


def test_there_must_be_something_to_resume(encoder, dataset, tmp_path):
    config = TrainConfig(encoder=encoder, episodes=dataset, out=tmp_path / "out", resume=True)
    with pytest.raises(SnapshotError, match="no such run to resume"):
        train(config, Console(quiet=True))
    assert not (tmp_path / "out").exists()


def test_by_turns_a_run_depends_on_its_seed_alone(encoder, dataset, tmp_path):
    config = TrainConfig(encoder=encoder, episodes=dataset, length_m=12.0, max_episodes=3, sync=True)
    rows = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        train(replace(config, out=tmp_path / name, seed=seed, envs_per_actor=2, ratio=Ratio(5.0)), Console(quiet=True))
        with (tmp_path / name / "episodes.csv").open() as file:
            rows.append([{**row, "wall_s": "", "seconds": ""} for row in csv.DictReader(file)])
    one, same, other = rows
    assert one == same
    assert one != other
    weights = [(tmp_path / name / "actor.safetensors").read_bytes() for name in ("one", "same", "other")]
    assert torch.equal(
        *(load_actor(tmp_path / name / "actor.safetensors")[0].body[0].weight for name in ("one", "same"))
    )
    assert weights[0] != weights[2]


@pytest.mark.parametrize("encoder", LEARNED, ids=str)
def test_pixels_are_learned_from_in_one_process_only(encoder, dataset, tmp_path):
    with pytest.raises(SettingsError, match=rf"encoder is {encoder}.*expected --sync"):
        train(TrainConfig(encoder=encoder, episodes=dataset, out=tmp_path / "run"), Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_a_vae_that_sees_other_images_than_the_camera_takes_is_refused(dataset, tmp_path):
    small = OnlineConfig(vae=VAEConfig(height_px=32))
    config = TrainConfig(encoder=ONLINE, online=small, episodes=dataset, out=tmp_path / "run", sync=True)
    with pytest.raises(SettingsError, match=r"online.vae sees images of \(32, 64\) pixels.*camera's are \(64, 64\)"):
        train(config, Console(quiet=True))
    assert not (tmp_path / "run").exists()


SHORT = {"length_m": 12.0, "max_episodes": 1, "sync": True, "ratio": Ratio(3.0), "replay_capacity": 300}


def test_a_policy_that_learns_to_see_is_trained_evaluated_and_exported_like_any_other(dataset, tmp_path):
    config = TrainConfig(encoder=PIXELS, episodes=dataset, out=tmp_path / "run", **SHORT)
    train(config, Console(quiet=True))
    _, facts = load_actor(tmp_path / "run/actor.safetensors")
    assert (facts.pixels, facts.obs_size) == (True, 64 * 64 * 3 + 6)
    assert not (tmp_path / "run/vae.safetensors").exists()
    *_, learned = evaluate(EvaluateConfig(run=tmp_path / "run", out=tmp_path / "t.json"), Console(quiet=True))
    assert learned.policy == "DDPG, pixels"
    assert export(ExportConfig(run=tmp_path / "run", out=tmp_path / "policy.onnx"), Console(quiet=True)) <= 1e-4
    assert OnnxPolicy.load(tmp_path / "policy.onnx").spec.image_height == 64


@pytest.mark.slow
def test_a_policy_with_a_vae_learned_online_is_trained_resumed_evaluated_and_exported_like_any_other(dataset, tmp_path):
    run = tmp_path / "run"
    online = OnlineConfig(vae=VAEConfig(latent=8), joint=True)
    config = TrainConfig(encoder=ONLINE, online=online, episodes=dataset, out=run, checkpoint_every=1, **SHORT)
    train(config, Console(quiet=True))
    learned_steps = load_newest(run / "checkpoints", pytest.fail).tensors["algorithm.online.steps"]
    progress = train(replace(config, resume=True, max_episodes=2), Console(quiet=True))
    assert (len(progress.tests), int(learned_steps)) == (2, 3 * online.steps)
    assert load_newest(run / "checkpoints", pytest.fail).tensors["algorithm.online.steps"] == 6 * online.steps
    actor, facts = load_actor(run / "actor.safetensors")
    assert (facts.pixels, facts.vae) == (True, online.vae)
    alone = load_encoder(run / "vae.safetensors").state_dict()
    assert all(torch.equal(alone[name], x) for name, x in actor.get_submodule("0.vae").state_dict().items())
    *_, learned = evaluate(EvaluateConfig(run=run, out=tmp_path / "t.json"), Console(quiet=True))
    assert learned.policy == "DDPG, VAE learned online"
    assert export(ExportConfig(run=run, out=tmp_path / "policy.onnx"), Console(quiet=True)) <= 1e-4
    answer = OnnxPolicy.load(tmp_path / "policy.onnx").answer(np.zeros((64, 64, 3), np.uint8), np.zeros(6, np.float32))
    assert answer.novelty is not None
    assert answer.value is not None
    assert answer.novelty > 1  # it never saw the dark


def test_by_turns_there_are_as_many_updates_after_each_episode_as_the_paper_has(encoder, dataset, tmp_path):
    config = TrainConfig(encoder=encoder, episodes=dataset, out=tmp_path, length_m=12.0, max_episodes=2, sync=True)
    train(config, Console(quiet=True))
    with (tmp_path / "episodes.csv").open() as file:
        rows = [(row["kind"], int(row["updates"])) for row in csv.DictReader(file)]
    assert rows == [("train", 0), ("test", 250), ("train", 250), ("test", 500)]


def test_tests_short_of_the_whole_route_are_counted_until_one_drives_it():
    progress = Progress(passes_wanted=3, max_episodes=10)
    counts = []
    for finished in (False, False, True, False):
        progress.add(told("test", 5.0, finished))
        counts.append(progress.fruitless)
    assert counts == [1, 2, 0, 1]


def test_the_networks_start_anew_when_tests_stay_fruitless(encoder, dataset, tmp_path):
    """A route that is longer than the time for it cannot be driven whole."""
    config = TrainConfig(encoder=encoder, episodes=dataset, out=tmp_path / "out", length_m=2000.0, max_episodes=3)
    config = replace(config, restart_after=2, ratio=Ratio(1.0, 0.0, band=0))
    with (console := Console(width=120)).capture() as capture:
        progress = train(config, console)
    assert [report.finished for report in progress.tests] == [False] * 3
    assert capture.get().count("start anew") == 1


def test_what_a_run_goes_on_from_is_read_only_when_nobody_writes_there(encoder, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("agent.training.train.insist_on_same", lambda *_: None)
    config = TrainConfig(encoder=encoder, episodes=dataset, out=tmp_path, resume=True)
    with alone_in(tmp_path), pytest.raises(FolderInUseError):  # and not that there is no checkpoint
        train(config, Console(quiet=True))
    with pytest.raises(SnapshotError, match="no sound checkpoint"):
        train(config, Console(quiet=True))
