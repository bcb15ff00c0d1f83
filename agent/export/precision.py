"""Graphs of policies that compute less exactly, in 8 bits or in half precision; inputs and outputs stay as they are."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
from jaxtyping import Float32, UInt8
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from agent.export.export import Variant
from deploy.policy import METADATA_KEY
from deploy.policy_spec import PolicySpec

# The convolutions, which take nearly all the time, and what lies between them. The small layers of actor and critic
# stay in float32: in 8 bits they gain no time and make four times the error.
IN_8_BITS = ["Conv", "Relu", "DepthToSpace", "Reshape"]
CHUNK = 50  # frames at once


class Moments(NamedTuple):
    """What a policy is given in so many moments."""

    image: UInt8[np.ndarray, "n h w 3"]
    state: Float32[np.ndarray, "n s"]


def less_exact(graph: bytes, precision: Variant, original: str, calibration: Moments) -> bytes:
    """The graph of a policy in that precision; its spec says so, and the id of the original."""
    model = PRECISIONS[precision](graph, calibration)
    (note,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    spec = msgspec.json.decode(note.value, type=PolicySpec)
    spec = msgspec.structs.replace(spec, precision=precision, original=original)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: msgspec.json.encode(spec).decode()})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def int8(graph: bytes, calibration: Moments) -> onnx.ModelProto:
    """Static 8 bits (QDQ): the range of what each convolution gives is that which it has for those frames.

    Weights have 7 bits, each channel its own scale, so that no sum saturates on x86 processors without VNNI.
    """
    with TemporaryDirectory(prefix="lapwing-") as folder:
        given, prepared, made = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "made"))
        given.write_bytes(graph)
        quant_pre_process(str(given), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(made),
            Frames(calibration),
            op_types_to_quantize=IN_8_BITS,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(made)


def float16(graph: bytes, calibration: Moments) -> onnx.ModelProto:
    """All of it in half precision; nothing is calibrated."""
    made = OnnxModel(convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True))
    made.topological_sort()  # it adds the casts of inputs at the end
    return made.model


class Frames(CalibrationDataReader):
    """Hands out moments in chunks, as onnxruntime asks for them."""

    def __init__(self, moments: Moments) -> None:
        self._chunks = self._in_chunks(moments)

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]  # it ends with None
        """The next chunk, None after the last."""
        return next(self._chunks, None)

    @staticmethod
    def _in_chunks(moments: Moments) -> Iterator[dict[str, np.ndarray]]:
        for at in range(0, len(moments.image), CHUNK):
            yield {"image": moments.image[at : at + CHUNK], "state": moments.state[at : at + CHUNK]}


PRECISIONS: dict[Variant, Callable[[bytes, Moments], onnx.ModelProto]] = {"int8": int8, "float16": float16}
