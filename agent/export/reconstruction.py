"""What an encoder keeps of an image, as an ONNX graph, for the dashboard."""

import msgspec
import onnx
import torch
from torch import Tensor, nn

from agent.checkpoint import PolicyFacts
from deploy.policy import METADATA_KEY
from deploy.policy_spec import PolicySpec
from perception.encoders.convolutions import Autoencoder
from perception.graph import to_onnx


class Rebuilt(nn.Module):
    """x̂ = decoder(mean of q(z | image)), as a picture; without the sky that the encoder does not look at."""

    def __init__(self, encoder: Autoencoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        """image (batch, H, W, 3) uint8 → (batch, rows, W, 3) uint8 RGB."""
        pixels = self.encoder.reconstruct(image).clamp(0, 1)
        return (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def eyes(encoder: Autoencoder, facts: PolicyFacts, spec: PolicySpec) -> onnx.ModelProto:
    """The graph: `image` in, `rebuilt` out; it knows of which policy it is."""
    image = torch.zeros(2, facts.image_height, facts.image_width, 3, dtype=torch.uint8)
    notes = {METADATA_KEY: msgspec.json.encode(spec).decode()}
    return to_onnx(Rebuilt(encoder).eval(), {"image": image}, ["rebuilt"], notes)
