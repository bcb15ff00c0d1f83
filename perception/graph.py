"""Networks as ONNX graphs for any batch size; the encoder as one, so that actors need no torch to see."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor, nn

from perception.sight import LEARNED, Sight, load_sight

OPSET = 20
SOURCE = "sha256 of the weights"  # key in the metadata of an encoder's graph


def to_onnx(
    network: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], notes: Mapping[str, str]
) -> onnx.ModelProto:
    """Trace a network that maps those inputs, of two rows each, to those outputs; the notes become the metadata."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    first, *others = inputs
    batch: dict[str, dict] = {first: {0: torch.export.Dim("batch", min=1)}}
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # torch.onnx lags behind torch
        program = torch.onnx.export(
            network,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=batch | {name: {0: torch.export.Dim.AUTO} for name in others},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None for an exporter of the past
    model = program.model_proto
    onnx.helper.set_model_props(model, dict(notes))
    onnx.checker.check_model(model)
    return model


class Mean(nn.Module):
    """z = the latent's mean, which is what a policy sees."""

    def __init__(self, encoder: Sight) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        """image (batch, H, W, 3) uint8 → z (batch, Z) float32."""
        return self.encoder.encode_mean(image)


def encoder_graph(weights: Path) -> bytes:
    """The encoder in those weights as ONNX: `image` uint8 (batch, H, W, 3) → `z` float32 (batch, Z); as load_sight.

    It is read from the .onnx beside the weights, which `lapwing pretrain` writes; where that is missing or of other
    weights it is made anew, in some seconds. Raises EncoderError.
    """
    encoder = load_sight(weights)
    if weights in LEARNED:
        return _traced(encoder, "")
    source, beside = sha256(weights.read_bytes()).hexdigest(), weights.with_suffix(".onnx")
    if beside.exists() and _source(beside) == source:
        return beside.read_bytes()
    return _traced(encoder, source)


def _traced(encoder: Sight, source: str) -> bytes:
    size = 2, encoder.config.height_px, encoder.config.width_px, 3
    image = torch.zeros(size, dtype=torch.uint8)
    return to_onnx(Mean(encoder).eval(), {"image": image}, ["z"], {SOURCE: source}).SerializeToString()


def _source(graph: Path) -> str | None:
    """The weights that a graph was made from; None if it is no graph of ours."""
    try:
        metadata = onnx.load(graph).metadata_props
    except DecodeError:
        return None
    return next((note.value for note in metadata if note.key == SOURCE), None)
