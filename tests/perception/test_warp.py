"""Warped frames are what a camera elsewhere would have seen, and the ruler learns how far from where."""

import math

import pytest
import torch

from perception.warp import Ruler, WarpConfig, warped

FOCAL, HEIGHT_M, SIZE = 40.0, 1.3, 64
HORIZON = 0.25  # row 16: a camera that looks straight ahead has it in the middle, so the picture is cut there


def line(offset_m: float, yaw_rad: float, curvature_1pm: float) -> torch.Tensor:
    """The column where a line on the ground is seen in each row below the horizon, by the pinhole's equations."""
    depth_m = FOCAL * HEIGHT_M / (torch.arange(SIZE) + 0.5 - HORIZON * SIZE)
    left_m = offset_m + yaw_rad * depth_m + curvature_1pm * depth_m.square() / 2
    return SIZE / 2 - 0.5 - FOCAL * left_m / depth_m


def painted(columns: torch.Tensor) -> torch.Tensor:
    """An image (h, w, 3) with a soft bright line at these columns, below row 24, where it is near enough to see."""
    x = torch.arange(SIZE)
    bright = (255 * (1 - (x - columns[:, None]).abs() / 4).clamp(min=0)).round()
    bright[:24] = 0
    return bright.byte()[..., None].expand(SIZE, SIZE, 3)


def seen(image: torch.Tensor) -> torch.Tensor:
    """The line's column in each row from 24 on: the centre of its brightness."""
    light = image[24:, :, 0].float()
    return (light * torch.arange(SIZE)).sum(dim=1) / light.sum(dim=1)


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["move", "turn", "bend"])
def test_a_warp_is_what_a_pinhole_camera_would_see(kind: int) -> None:
    greatest = {"move": 0.0, "turn": 0.0, "bend": 0.0} | {("move", "turn", "bend")[kind]: 0.06}
    image = painted(line(0.05, 0.02, 0.002))
    result = warped(image[None].expand(20, -1, -1, -1), WarpConfig(horizon=HORIZON, **greatest), torch.Generator())
    below_px = SIZE * (1 - HORIZON)
    metres_of_a_pixel = [HEIGHT_M / below_px, 1 / FOCAL, 2 * below_px * 0.1 / (FOCAL**2 * HEIGHT_M)]  # see line
    for warp, amounts, sign in zip(*result, strict=True):
        moved = [0.05, 0.02, 0.002]
        moved[kind] += amounts[kind].item() * 0.06 * SIZE * metres_of_a_pixel[kind]
        columns = line(*moved)[24:]
        expected = columns if sign > 0 else SIZE - 1 - columns
        assert (seen(warp) - expected).abs().max() < 0.15


def test_about_half_the_images_are_mirrored() -> None:
    images = torch.randint(256, (400, 4, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = warped(images, WarpConfig(move=0, turn=0, bend=0), torch.Generator().manual_seed(0))
    for image, warp, sign in zip(images, result.images, result.sign, strict=True):
        assert torch.equal(warp, image.flip(1) if sign < 0 else image)
    assert 160 < (result.sign < 0).sum() < 240  # 4 standard deviations


def test_the_edge_is_repeated() -> None:
    image = torch.tensor([10, 20, 30, 40], dtype=torch.uint8)[None, None, :, None].expand(50, 2, 4, 3)
    result = warped(image, WarpConfig(move=0, turn=0.25, bend=0), torch.Generator().manual_seed(0))
    for warp, amounts, sign in zip(*result, strict=True):
        row = [min(max(10 + 10 * (i + amounts[1].item()), 10), 40) for i in range(4)]
        assert warp[0, :, 0].tolist() == pytest.approx(row[:: int(sign)], abs=0.51)


def test_the_ruler_reads_no_error_where_the_latent_says_how_far_it_was_warped() -> None:
    ruler = Ruler(3)
    torch.nn.init.eye_(ruler.read.weight)
    frame = torch.tensor([[0.3, -0.2, 0.1], [1.0, 2.0, 3.0]]).repeat(2, 1)  # two frames, each twice
    amounts, sign = torch.rand(4, 3), torch.tensor([[1.0], [-1.0], [-1.0], [-1.0]])
    assert ruler.error(sign * (frame + amounts), amounts, sign).item() == pytest.approx(0, abs=1e-10)
    # rows 0 and 2 of the identity differ by 1 in columns 0 and 2, rows 1 and 3 in column 1: 3 of 6 squares
    assert ruler.error(torch.zeros(4, 3), torch.eye(4, 3), sign).item() == pytest.approx(3 / 6)


def test_amounts_are_within_one_and_differ_from_image_to_image() -> None:
    amounts = warped(torch.zeros(100, 2, 2, 3, dtype=torch.uint8), WarpConfig(), torch.Generator()).amounts
    assert amounts.abs().max() <= 1
    assert amounts.std(dim=0).tolist() == pytest.approx([1 / math.sqrt(3)] * 3, abs=0.1)
