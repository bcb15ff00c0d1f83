"""The VAE's equations by hand, and its file."""

import math
from pathlib import Path

import msgspec
import pytest
import torch
from jaxtyping import TypeCheckError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from perception.encoders import EncoderError, load_encoder, save_encoder
from perception.encoders.convolutions import as_pixels
from perception.encoders.vae import VAE, VAEConfig, kl_nats, sample

SMALL = VAEConfig(latent=2, height_px=8, width_px=16, crop_top=0, channels=(4, 8), beta=0.5, kl_floor_nats=1.0)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randint(256, (5, 8, 16, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture
def silent() -> VAE:
    """All weights zero: mu = 0, σ = 1, and every reconstruction mid-grey."""
    vae = VAE(SMALL)
    for parameter in vae.parameters():
        nn.init.zeros_(parameter)
    return vae


def set_latent(vae: VAE, mu: float, logvar: float) -> None:
    """Make a silent VAE's mean and log-variance constants."""
    with torch.no_grad():
        vae.eye.numbers.bias.copy_(torch.tensor([mu, mu, logvar, logvar]))


@pytest.mark.parametrize(
    ("mu", "sigma", "expected"),
    [
        (0.0, 1.0, 0.0),
        (1.0, 1.0, 0.5),
        (0.0, 2.0, 0.8068528),  # (4 − 1 − ln 4) / 2
        (-3.0, 0.5, 4.8181472),  # (9 + 1/4 − 1 + ln 4) / 2
    ],
)
def test_kl_of_a_known_gaussian(mu: float, sigma: float, expected: float) -> None:
    logvar = 2 * math.log(sigma)
    kl = kl_nats(torch.tensor([[mu], [0.0]]), torch.tensor([[logvar], [0.0]]))
    assert kl[:, 0].tolist() == pytest.approx([expected, 0.0], abs=1e-6)


def test_kl_is_told_of_each_latent() -> None:
    assert kl_nats(torch.ones(1, 6), torch.zeros(1, 6)).tolist() == [[0.5] * 6]


def test_reconstruction_is_summed_over_pixels_and_colours(silent: VAE) -> None:
    images = torch.zeros(3, 8, 16, 3, dtype=torch.uint8)
    images[0] = 255  # errors of ½ everywhere, white or black
    loss = silent.loss(images)
    assert loss.reconstruction.item() == 8 * 16 * 3 * 0.25


def test_reconstruction_is_the_mean_over_the_batch(silent: VAE) -> None:
    images = torch.full((2, 8, 16, 3), 51, dtype=torch.uint8)  # 0.2: error 0.3
    images[1] = 204  # 0.8: error 0.3
    images[1, 0, 0, 0] = 255  # one error of 0.5
    assert silent.loss(images).reconstruction.item() == pytest.approx(384 * 0.09 + (0.25 - 0.09) / 2, rel=1e-5)


def test_kl_below_its_floor_costs_the_floor(silent: VAE, images: Tensor) -> None:
    loss = silent.loss(images)
    assert loss.penalty.item() == 0
    assert (loss.total - loss.reconstruction).item() == pytest.approx(0.5 * 1.0, abs=1e-4)
    loss.total.backward()
    assert silent.eye.numbers.bias.grad.abs().max() == 0  # nothing pulls the latent to the prior


def test_kl_above_its_floor_costs_beta_each_nat(silent: VAE, images: Tensor) -> None:
    set_latent(silent, mu=2.0, logvar=0.0)  # KL 2 · 2²/2 = 4
    loss = silent.loss(images)
    assert loss.penalty.item() == 4
    assert (loss.total - loss.reconstruction).item() == pytest.approx(0.5 * 4, abs=1e-4)


def test_encode_gives_the_mean_and_draws_nothing(images: Tensor) -> None:
    vae = VAE(SMALL)
    state = torch.get_rng_state()
    first, second = vae.encode(images)[0], vae.encode(images)[0]
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_latent_is_sampled_around_the_mean(generator: torch.Generator) -> None:
    mu, logvar = torch.full((20_000, 2), 3.0), torch.full((20_000, 2), 2 * math.log(0.5))
    z = sample(mu, logvar, generator)
    assert z.mean().item() == pytest.approx(3.0, abs=0.02)
    assert z.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("progress", "beta"), [(0.0, 0.0), (0.05, 0.25), (0.1, 0.5), (1.0, 0.5)])
def test_beta_warms_up(silent: VAE, images: Tensor, progress: float, beta: float) -> None:
    set_latent(silent, mu=2.0, logvar=0.0)  # KL 4
    loss = silent.loss(images, progress=progress)
    assert (loss.total - loss.reconstruction).item() == pytest.approx(beta * 4, abs=1e-4)


def test_the_same_generator_gives_the_same_loss(images: Tensor) -> None:
    vae = VAE(SMALL)
    first, second, third = (vae.loss(images, torch.Generator().manual_seed(seed)).total for seed in (1, 1, 2))
    assert first == second != third


def test_pixels_are_the_camera_image_channels_first() -> None:
    image = torch.zeros(1, 2, 4, 3, dtype=torch.uint8)
    image[0, 1, 2] = torch.tensor([255, 51, 0])
    pixels = as_pixels(image)
    assert pixels.shape == (1, 3, 2, 4)
    assert pixels[0, :, 1, 2].tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert pixels.sum().item() == pytest.approx(1.2)


def test_a_float_image_or_channels_first_is_refused() -> None:
    for wrong in (torch.zeros(1, 8, 16, 3), torch.zeros(1, 3, 8, 16, dtype=torch.uint8)):
        with pytest.raises(TypeCheckError):
            VAE(SMALL).encode(wrong)


def test_weights_and_config_survive_the_file_bit_for_bit(tmp_path: Path, images: Tensor) -> None:
    vae = VAE(SMALL)
    save_encoder(tmp_path / "vae.safetensors", vae)
    loaded = load_encoder(tmp_path / "vae.safetensors")
    assert loaded.config == SMALL
    assert not loaded.training
    assert torch.equal(loaded.encode(images)[0], vae.encode(images)[0])
    assert all(torch.equal(loaded.state_dict()[name], weight) for name, weight in vae.state_dict().items())


def write_encoder(path: Path, **changes: str) -> None:
    """A VAE's file with other metadata."""
    save_encoder(path, VAE(SMALL))
    config = msgspec.json.encode(SMALL).decode()
    save_file(load_file(path), path, {"encoder": "vae", "config": config} | changes)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"none\.safetensors.*lapwing pretrain") as caught:
        load_encoder(tmp_path / "none.safetensors")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "vae.safetensors"
    save_encoder(path, VAE(SMALL))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(EncoderError, match=r"vae\.safetensors"):
        load_encoder(path)


def test_weights_of_something_else_are_named(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "actor.safetensors")
    with pytest.raises(EncoderError, match=r"actor\.safetensors.*expected one of"):
        load_encoder(tmp_path / "actor.safetensors")


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "os:system"},
        {"config": "no json"},
        {"config": '{"latent": "many"}'},
        {"config": '{"latent": 3}'},
        {"config": '{"crop_top": 1.5}'},
    ],
    ids=["unknown encoder", "no json", "wrong type", "other shapes", "all cropped"],
)
def test_metadata_that_does_not_fit_is_named(tmp_path: Path, changes: dict[str, str]) -> None:
    write_encoder(tmp_path / "vae.safetensors", **changes)
    with pytest.raises(EncoderError, match=r"vae\.safetensors") as caught:
        load_encoder(tmp_path / "vae.safetensors")
    assert "\n" not in str(caught.value)
