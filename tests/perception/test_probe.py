"""The probe tells what is known, and beside it what anybody would know."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from perception.encoders import EncoderError, save_encoder
from perception.encoders.rae import RAE, RAEConfig
from perception.encoders.vae import VAE, VAEConfig
from perception.episodes import RecordConfig, record
from perception.probe import ProbeConfig, known, principal_components, probe
from perception.shards import LABELS
from tests.perception.lanes import FAKE, SIZE

SMALL = {"latent": 4, "height_px": SIZE, "width_px": SIZE, "channels": (4, 8), "crop_top": 0.0}


@pytest.fixture
def config(tmp_path: Path) -> ProbeConfig:
    torch.manual_seed(0)
    record(RecordConfig(env=FAKE, out=tmp_path / "episodes", frames=200, episode_frames=10))
    save_encoder(tmp_path / "vae.safetensors", VAE(VAEConfig(**SMALL)))
    save_encoder(tmp_path / "rae.safetensors", RAE(RAEConfig(**SMALL)))
    encoders = tmp_path / "vae.safetensors", tmp_path / "rae.safetensors"
    return ProbeConfig(encoders, tmp_path / "episodes", out=tmp_path / "probe", json=True)


def test_encoders_and_baselines_are_judged_alike(config: ProbeConfig, capsys: pytest.CaptureFixture) -> None:
    findings = probe(config, Console(width=120))
    assert [finding.name.split("/")[-1] for finding in findings] == [
        *("vae.safetensors", "rae.safetensors"),
        *("PCA of the pixels, 4", "untrained encoder"),
    ]
    assert all(list(finding.r2) == list(LABELS) for finding in findings)
    vae, rae, *_ = findings
    assert len(vae.kl_nats or ()) == 4
    assert rae.kl_nats is None
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1])[0]["r2"] == pytest.approx(vae.r2)
    assert json.loads((config.out / "probe.json").read_bytes())[1]["active_units"] == rae.active_units


def test_the_picture_has_two_rows_of_frames_and_one_for_each_latent(config: ProbeConfig) -> None:
    probe(config, Console(quiet=True))
    for name in ("probe.png", "probe-1.png"):
        height, width, _ = cv2.imread(str(config.out / name)).shape
        assert (height, width) == (3 * 6 * (SIZE + 2), 3 * 8 * (SIZE + 2))


def test_encoders_that_see_other_sizes_are_refused(config: ProbeConfig, tmp_path: Path) -> None:
    save_encoder(tmp_path / "rae.safetensors", RAE(RAEConfig(**SMALL | {"width_px": 32})))
    with pytest.raises(EncoderError, match=r"rae\.safetensors.*\(16, 32\).*\(16, 16\)"):
        probe(config, Console(quiet=True))


def test_labels_that_nobody_knows_are_left_out() -> None:
    z, labels = torch.arange(6.0)[:, None], np.full((6, len(LABELS)), np.nan)
    labels[:, 1] = np.arange(6)
    assert known(z, labels, z, labels) == {"heading_error_rad": pytest.approx(1, abs=1e-3)}


def test_principal_components_span_what_varies() -> None:
    generator = torch.Generator().manual_seed(0)
    amounts = torch.randn(60, 2, generator=generator) * torch.tensor([5.0, 1.0])
    pictures = torch.eye(12)[:2].reshape(2, 3, 2, 2)
    images = torch.einsum("nk,kchw->nchw", amounts, pictures) + 7
    z, other = principal_components(images, images[:5], 2)
    centred = amounts - amounts.mean(dim=0)
    assert (z @ z.T - centred @ centred.T).abs().max() < 1e-3
    assert torch.allclose(z[:5], other, atol=1e-5)
