"""The ONNX beside an encoder's weights is used if it was made from these very weights, else one is made."""

import onnx
import pytest
import torch

from perception.encoders import EncoderError, save_encoder
from perception.encoders.vae import VAE, VAEConfig
from perception.graph import SOURCE, encoder_graph


def small(path, seed: int):
    torch.manual_seed(seed)
    save_encoder(path, VAE(VAEConfig(latent=3, width_px=16, height_px=8, channels=(4, 4))))
    return path


def source(graph: bytes) -> str:
    (note,) = (note.value for note in onnx.load_from_string(graph).metadata_props if note.key == SOURCE)
    return note


def test_what_stands_beside_is_taken_only_if_it_is_of_these_weights(tmp_path):
    weights = small(tmp_path / "vae.safetensors", seed=0)
    beside = weights.with_suffix(".onnx")
    made = encoder_graph(weights)
    assert not beside.exists()  # a folder that may not be ours

    model = onnx.load_from_string(made)
    model.producer_name = "the same, but told apart"
    onnx.save(model, beside)
    assert encoder_graph(weights) == beside.read_bytes() != made

    small(weights, seed=1)
    anew = encoder_graph(weights)
    assert source(anew) != source(made)

    beside.write_bytes(beside.read_bytes()[:100])
    assert source(encoder_graph(weights)) == source(anew)


def test_weights_that_cannot_be_read_are_an_error(tmp_path):
    with pytest.raises(EncoderError, match=r"none\.safetensors"):
        encoder_graph(tmp_path / "none.safetensors")
