"""Pretraining learns, measures on frames it did not see, and writes what it learned."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch

from perception.dataset import Dataset, EpisodeWriter
from perception.encoders import load_encoder, load_familiar
from perception.encoders.vae import VAEConfig
from perception.episodes import RecordConfig, record
from perception.measures import psnr_db
from perception.pretrain import PretrainConfig, PretrainError, Report, annealing, pretrain
from perception.shards import LABELS, DatasetError, Header
from perception.warp import WarpConfig
from tests.perception.drives import episode
from tests.perception.lanes import FAKE, SIZE

TINY = VAEConfig(latent=4, height_px=SIZE, width_px=SIZE, crop_top=0, channels=(8, 16), beta=0.01)
NO_WARP = WarpConfig(move=0, turn=0.06, bend=0, weight=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    record(RecordConfig(env=FAKE, out=folder, frames=300, episode_frames=10))
    return folder


@pytest.fixture(scope="module")
def trained(dataset: Path) -> tuple[Path, Report]:
    out = dataset.parent / "vae"
    return out, pretrain(PretrainConfig(dataset, out, vae=TINY, steps=300, batch=16, lr=5e-3, warp=NO_WARP, threads=1))


def test_held_out_frames_are_rebuilt_better_than_by_the_mean_image(dataset: Path, trained: tuple[Path, Report]) -> None:
    frames = Dataset(dataset).frames() / 255.0
    assert trained[1].frames == 270
    of_the_mean = np.square(frames[270:] - frames[:270].mean(axis=0)).mean()
    assert trained[1].psnr_db > psnr_db(of_the_mean) + 2


def test_more_steps_lower_the_loss(dataset: Path, trained: tuple[Path, Report], tmp_path: Path) -> None:
    short = pretrain(PretrainConfig(dataset, tmp_path, vae=TINY, steps=10, batch=16, warp=NO_WARP, threads=1))
    frames = torch.from_numpy(Dataset(dataset).frames())
    losses = [
        load_encoder(out / "vae.safetensors").loss(frames, torch.Generator().manual_seed(0)).total.item()
        for out in (tmp_path, trained[0])
    ]
    assert losses[1] < 0.7 * losses[0]
    assert short.psnr_db < trained[1].psnr_db


def test_the_latent_knows_where_the_line_is(trained: tuple[Path, Report]) -> None:
    assert trained[1].lane_r2["lateral_offset_m"] > 0.4


def test_the_report_is_written(trained: tuple[Path, Report]) -> None:
    out, report = trained
    written = msgspec.json.decode((out / "pretrain.json").read_bytes())
    assert written["psnr_db"] == report.psnr_db
    assert written["config"]["vae"]["latent"] == 4
    assert list(written["lane_r2"]) == list(LABELS)
    assert 0 < written["active_units"] <= 4
    assert sorted(path.name for path in out.iterdir()) == [
        "pretrain.json",
        "reconstructions.png",
        "vae.onnx",
        "vae.safetensors",
    ]


def test_the_picture_shows_eight_frames_above_their_reconstructions(
    dataset: Path, trained: tuple[Path, Report]
) -> None:
    picture = cv2.imread(str(trained[0] / "reconstructions.png"))
    height, width, _ = picture.shape
    assert height * 8 == width * 2
    first = cv2.cvtColor(picture[: height // 2, : width // 8], cv2.COLOR_BGR2RGB)
    small = cv2.resize(first, (SIZE + 2, SIZE + 2), interpolation=cv2.INTER_AREA)[1:-1, 1:-1]
    assert np.abs(small.astype(int) - Dataset(dataset).frames()[270]).mean() < 10


def test_the_same_seed_gives_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    config = PretrainConfig(dataset, tmp_path, vae=TINY, steps=5, batch=8, threads=1)
    latents = []
    for seed in (1, 1, 2):
        torch.rand(3)  # global randomness does not matter
        pretrain(replace(config, seed=seed))
        vae = load_encoder(tmp_path / "vae.safetensors")
        latents.append(vae.encode_mean(torch.from_numpy(Dataset(dataset).frames())))
    assert torch.equal(latents[0], latents[1])
    assert not torch.equal(latents[0], latents[2])


def test_a_latent_that_says_nothing_is_told(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    strict = replace(TINY, beta=1e6, kl_floor_nats=0.0, kl_warmup=0.0)
    report = pretrain(PretrainConfig(dataset, tmp_path, vae=strict, steps=60, batch=8, warp=NO_WARP))
    assert report.collapsed
    assert report.active_units == 0
    assert msgspec.json.decode((tmp_path / "pretrain.json").read_bytes())["collapsed"] is True
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "collapsed" in line]
    assert "none of 4 units" in said


def test_a_loss_that_explodes_is_told(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(PretrainError, match=r"loss is \S+ in step \d+.*lr"):
        pretrain(PretrainConfig(dataset, tmp_path, vae=TINY, steps=50, batch=8, lr=1e6, warp=NO_WARP))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changes", [{"batch": 3}, {"batch": 0}, {"steps": 0}])
def test_settings_that_make_no_sense_are_told(dataset: Path, tmp_path: Path, changes: dict[str, int]) -> None:
    with pytest.raises(PretrainError, match=r"batch.*steps"):
        pretrain(replace(PretrainConfig(dataset, tmp_path, vae=TINY), **changes))


def test_half_of_familiar_frames_err_less_than_their_median(dataset: Path, trained: tuple[Path, Report]) -> None:
    held = torch.from_numpy(Dataset(dataset).frames())[270:]
    familiar, encoder = trained[1].familiar, load_encoder(trained[0] / "vae.safetensors")
    error = (encoder.reconstruct(held) - encoder.seen(held)).square().mean(dim=(1, 2, 3))
    assert (error < familiar.q50).sum() <= 15 <= (error <= familiar.q50 + 1e-9).sum()  # of 30; some are the same
    assert familiar.q50 < familiar.q90 <= familiar.q99 <= error.max() + 1e-9
    assert load_familiar(trained[0] / "vae.safetensors") == familiar


def test_images_of_another_size_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"\(16, 16\).*\(64, 64\)"):
        pretrain(PretrainConfig(dataset, tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    assert annealing(0.0) == pytest.approx(0.01)
    assert annealing(0.05) == pytest.approx(0.51 * (1 + math.cos(0.05 * math.pi)) / 2)
    assert annealing(0.5) == pytest.approx(0.5)
    assert annealing(1.0) == pytest.approx(0.0)


def test_frames_without_labels_are_learned_from_and_the_report_has_no_figures_of_the_lane(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8)
    unknown = {"states": np.full((20, 4), np.nan), "labels": np.full((20, 6), np.nan), "rewards": np.full(19, np.nan)}
    with EpisodeWriter(tmp_path / "data", Header("donkeycar", SIZE, SIZE)) as writer:
        writer.append(episode(20, images=images, **unknown))
    report = pretrain(PretrainConfig(tmp_path / "data", out=tmp_path / "vae", vae=TINY, steps=2, batch=4))
    assert report.lane_r2 == {}
    assert report.psnr_db > 0


def test_damage_is_left_out_or_strictly_an_error(dataset: Path, tmp_path: Path) -> None:
    content = bytearray((dataset / "shard-00000.arrow").read_bytes())
    content[content.index(b"IDAT") + 6] ^= 1
    (tmp_path / "data").mkdir()
    (tmp_path / "data/shard-00000.arrow").write_bytes(content)
    config = PretrainConfig(tmp_path / "data", out=tmp_path / "vae", vae=TINY, steps=2, batch=4)
    with pytest.raises(DatasetError, match=r"shard-00000\.arrow.*damaged"):
        pretrain(replace(config, strict=True))
    assert pretrain(config).frames < 270
