"""What every encoder promises, whatever its loss."""

from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import get_type_hints

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from perception.encoders import ENCODERS, Familiar, load_encoder, load_familiar, save_encoder
from perception.encoders.convolutions import Autoencoder, EyeConfig
from perception.graph import encoder_graph
from perception.pretrain import PretrainConfig

SMALL = {"latent": 8, "height_px": 16, "width_px": 16, "channels": (8, 16)}


@pytest.fixture(params=list(ENCODERS))
def name(request) -> str:
    torch.set_num_threads(1)
    return request.param


def make(name: str, **changes) -> Autoencoder:
    encoder = resolve_name(ENCODERS[name])
    config = get_type_hints(encoder.__init__)["config"]()
    assert isinstance(config, EyeConfig)
    torch.manual_seed(0)
    return encoder(replace(config, **(SMALL | changes)))


def frames(encoder: Autoencoder, count: int) -> Tensor:
    """A bright line somewhere on a dark ground: one number tells all."""
    height, width = encoder.config.height_px, encoder.config.width_px
    images = torch.full((count, height, width, 3), 40, dtype=torch.uint8)
    for image, column in zip(images, torch.linspace(2, width - 4, count).long().tolist(), strict=True):
        image[:, column : column + 2] = 220
    return images


@pytest.mark.parametrize(("latent", "size"), [(8, (64, 64)), (128, (64, 64)), (32, (120, 160)), (32, (83, 101))])
@pytest.mark.parametrize("changes", [{}, {"crop_top": 0.0}, {"residual": True}])
def test_images_of_any_size_come_back_as_they_are_seen(name, latent, size, changes):
    channels = (16, 32, 64, 64)
    encoder = make(name, latent=latent, height_px=size[0], width_px=size[1], channels=channels, **changes)
    images = torch.randint(256, (2, *size, 3), dtype=torch.uint8)
    z = encoder.encode_mean(images)
    assert z.shape == (2, latent)
    assert z.dtype == torch.float32
    rows = size[0] - encoder.config.crop_px
    assert encoder.reconstruct(images).shape == encoder.seen(images).shape == (2, 3, rows, size[1])
    assert encoder.seen(images)[0, 0, -1, -1].item() == pytest.approx(images[0, -1, -1, 0].item() / 255)


def test_what_is_cropped_changes_nothing(name):
    encoder = make(name, crop_top=0.25)
    images = frames(encoder, 3)
    other = images.clone()
    other[:, :4] = 255
    assert torch.equal(encoder.encode_mean(images), encoder.encode_mean(other))
    other[:, 4] = 255
    assert not torch.equal(encoder.encode_mean(images), encoder.encode_mean(other))


def test_encoding_draws_nothing(name):
    encoder = make(name)
    state = torch.get_rng_state()
    assert torch.equal(encoder.encode_mean(frames(encoder, 2)), encoder.encode_mean(frames(encoder, 2)))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_loss_depends_on_its_generator_alone_and_tells_the_mean(name):
    encoder = make(name)
    images = frames(encoder, 4)
    first, second = (encoder.loss(images, torch.Generator().manual_seed(1), 1.0) for _ in range(2))
    assert torch.equal(first.total, second.total)
    assert first.mean.shape == (4, 8)
    assert first.total >= first.reconstruction


def test_it_learns_to_rebuild_what_it_sees(name):
    encoder = make(name)
    images, generator = frames(encoder, 32), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(encoder.parameters(), 5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        encoder.loss(images, generator, 1.0).total.backward()
        optimizer.step()
    with torch.no_grad():
        seen = encoder.seen(images)
        error = (encoder.reconstruct(images) - seen).square().mean()
    assert error < 0.5 * (seen - seen.mean(dim=0)).square().mean()


def test_it_survives_its_file_bit_for_bit_with_what_it_is_used_to(name, tmp_path: Path):
    encoder, path, familiar = make(name), tmp_path / "encoder.safetensors", Familiar(0.1, 0.2, 0.3)
    save_encoder(path, encoder, familiar)
    loaded = load_encoder(path)
    assert type(loaded) is type(encoder)
    assert loaded.config == encoder.config
    assert not loaded.training
    assert torch.equal(loaded.reconstruct(frames(encoder, 3)), encoder.reconstruct(frames(encoder, 3)))
    assert load_familiar(path) == familiar
    save_encoder(path, encoder)
    assert load_familiar(path) is None


def test_its_graph_computes_the_same_for_any_number_of_images(name, tmp_path: Path):
    encoder, path = make(name, height_px=18), tmp_path / "encoder.safetensors"
    save_encoder(path, encoder)
    session = onnxruntime.InferenceSession(encoder_graph(path), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        images = frames(encoder, count)
        (z,) = session.run(["z"], {"image": images.numpy()})
        assert np.abs(z - encoder.eval().encode_mean(images).detach().numpy()).max() < 1e-4


def test_it_has_its_settings_in_pretraining(name):
    assert PretrainConfig(model=name).encoder == get_type_hints(resolve_name(ENCODERS[name]).__init__)["config"]()
