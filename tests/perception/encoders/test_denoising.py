"""What a denoising VAE is shown is spoiled in known ways; what it is asked for is clean."""

from dataclasses import replace

import pytest
import torch

from perception.encoders.denoising import DenoisingConfig, DenoisingVAE, spoil

NOTHING = DenoisingConfig(spoiled=1.0, shadow=0, blur=0, cutout=0, brightness=0)
GREY = torch.full((200, 3, 8, 8), 0.4)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_nothing_is_spoiled_by_nothing_or_by_no_chance(generator):
    pixels = torch.rand(5, 3, 8, 8, generator=generator)
    assert torch.equal(spoil(pixels, NOTHING, generator), pixels)
    assert torch.equal(spoil(pixels, DenoisingConfig(spoiled=0.0), generator), pixels)


def test_a_shadow_takes_at_most_its_part_of_the_light_from_one_side(generator):
    shaded = spoil(GREY, replace(NOTHING, shadow=0.5), generator)
    assert shaded.min() >= 0.2
    assert all(len(image.unique()) <= 2 for image in shaded)
    assert (shaded[:, 0].flatten(1).max(dim=1).values > 0.39).float().mean() > 0.9  # some of it stays in the light


def test_brightness_changes_the_whole_image_by_at_most_its_part(generator):
    changed = spoil(GREY, replace(NOTHING, brightness=0.3), generator)
    assert all(len(image.unique()) == 1 for image in changed)
    assert changed.min() == pytest.approx(0.28, abs=0.005)
    assert changed.max() == pytest.approx(0.52, abs=0.005)


def test_a_cutout_is_a_grey_rectangle(generator):
    cut = spoil(torch.zeros(200, 3, 8, 8), replace(NOTHING, cutout=0.8), generator)
    assert set(cut.unique().tolist()) == {0.0, 0.5}
    for image in cut[:, 0] > 0:
        rows, columns = image.any(dim=1), image.any(dim=0)
        assert torch.equal(image, rows[:, None] & columns)


def test_blur_keeps_the_mean_of_a_picture_and_lowers_its_contrast(generator):
    pixels = torch.zeros(50, 3, 9, 9)
    pixels[:, :, 4, 4] = 0.9
    soft = spoil(pixels, replace(NOTHING, blur=1.0), generator)
    assert soft.sum(dim=(2, 3)).flatten().tolist() == pytest.approx([0.9] * 150, abs=1e-5)
    assert soft[:, 0, 4, 4].min() >= 0.1 - 1e-6  # a ninth of it stays, at most
    assert soft[:, 0, 4, 4].max() < 0.9


def test_the_clean_image_is_asked_for(generator):
    config = DenoisingConfig(height_px=8, width_px=8, crop_top=0, channels=(4,), spoiled=1.0, brightness=0.9)
    vae = DenoisingVAE(config)
    for parameter in vae.parameters():
        torch.nn.init.zeros_(parameter)  # every reconstruction is mid-grey
    images = torch.full((3, 8, 8, 3), 255, dtype=torch.uint8)
    assert vae.loss(images, generator).reconstruction.item() == pytest.approx(8 * 8 * 3 * 0.25)
