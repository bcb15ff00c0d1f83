"""The regularised autoencoder's loss by hand."""

import pytest
import torch

from perception.encoders.rae import RAE, RAEConfig


def test_latent_and_decoder_weights_cost_what_they_weigh():
    rae = RAE(RAEConfig(latent=2, height_px=4, width_px=4, crop_top=0, channels=(2,), decoder_weight=0.5))
    for parameter in rae.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        rae.eye.numbers.bias.copy_(torch.tensor([3.0, 4.0]))  # ½|z|² = 12.5
        rae.painter.grid[0].bias[0] = 2.0  # θ² = 4, and its ReLU leads to weights that are nought
    loss = rae.loss(torch.zeros(2, 4, 4, 3, dtype=torch.uint8))
    assert loss.reconstruction.item() == pytest.approx(4 * 4 * 3 * 0.25)
    assert loss.penalty.item() == pytest.approx(12.5)
    assert (loss.total - loss.reconstruction).item() == pytest.approx(0.02 * 12.5 + 0.5 * 4)
    assert torch.equal(loss.mean, torch.tensor([[3.0, 4.0]] * 2))
