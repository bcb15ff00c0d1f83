"""A learned policy as one ONNX file: camera image and state vector in, action out."""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np
import onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as failures
from numpy.typing import NDArray

from deploy.policy_spec import PolicyError, PolicySpec

METADATA_KEY = "lapwing"
TOLD = ("novelty", "value")  # outputs that not every policy has
PROVIDERS = ["CPUExecutionProvider"]
ONNX_FAILURES = (  # they have no common base class but Exception
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
    UnicodeDecodeError,  # a name in the graph is damaged
)


class Answer(NamedTuple):
    """What a policy makes of a frame."""

    action: NDArray[np.float32]  # (2,)
    novelty: float | None  # above 1 for one in a hundred frames like those trained on; None if it cannot tell
    value: float | None  # of the action, the critic's: discounted metres to come; None if it cannot tell


class OnnxPolicy:
    """Image uint8 (batch, H, W, 3) and state float32 (batch, S) in, action float32 (batch, 2) out.

    Some policies also tell the `novelty` of the image and the `value` of the action, float32 (batch,).
    """

    def __init__(self, session: onnxruntime.InferenceSession, spec: PolicySpec, policy_id: str):
        self.spec = spec
        self.id = policy_id
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a policy; its id is the beginning of the file's SHA-256.

        Raises PolicyError if the file is missing, is no ONNX file, was not exported by Lapwing, or has other
        inputs and outputs than its own metadata says.
        """
        content = _read(path)
        try:
            session = session_of(content)
            policy = cls(session, _spec(session, path), sha256(content).hexdigest()[:12])
            policy._check_graph(path)
        except ONNX_FAILURES as error:
            reason = str(error).splitlines()[0]
            raise PolicyError(f"policy {path} is truncated or not an ONNX file: {reason}") from error
        return policy

    def __call__(self, image: NDArray[np.uint8], state: NDArray[np.float32]) -> NDArray[np.float32]:
        """The action (2,) float32 for an image (H, W, 3) uint8 RGB and a state vector (S,) float32."""
        return self.answer(image, state).action

    def answer(self, image: NDArray[np.uint8], state: NDArray[np.float32]) -> Answer:
        """The action as above, how new the image is and what the action is worth."""
        outputs = self._session.run(self._outputs, {"image": image[None], "state": state[None]})
        told = {name: np.asarray(output)[0] for name, output in zip(self._outputs, outputs, strict=True)}
        return Answer(told["action"], *(float(told[name]) if name in told else None for name in TOLD))

    def _check_graph(self, path: Path) -> None:
        spec = self.spec
        expected = {
            "image": ("tensor(uint8)", [1, spec.image_height, spec.image_width, 3]),
            "state": ("tensor(float)", [1, spec.state_size]),
            "action": ("tensor(float)", [1, 2]),
        }
        tensors = [*self._session.get_inputs(), *self._session.get_outputs()]
        found = {tensor.name: (tensor.type, _shape(tensor)) for tensor in tensors}
        expected |= {name: ("tensor(float)", [1]) for name in TOLD if name in found}
        if found != expected:
            raise PolicyError(f"policy {path} has tensors {found}, expected {expected}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyError(
            f"policy {path} cannot be read ({error.strerror}); expected a file written by `lapwing export`"
        ) from error


def _shape(tensor: onnxruntime.NodeArg) -> list[int]:
    """The tensor's shape for one frame at a time: a size that is left open, such as the batch, is 1."""
    return [size if isinstance(size, int) else 1 for size in tensor.shape]


def session_of(graph: bytes) -> onnxruntime.InferenceSession:
    """What runs a graph on one thread that never spins: so small a one gains nothing by more, the car needs its cores.

    Raises one of ONNX_FAILURES for what is no graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # its errors reach the caller as exceptions
    return onnxruntime.InferenceSession(graph, options, PROVIDERS, enable_fallback=0)  # which prints, and tries again


def _spec(session: onnxruntime.InferenceSession, path: Path) -> PolicySpec:
    metadata = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise PolicyError(f"policy {path} was not exported by Lapwing: no metadata under {METADATA_KEY!r}")
    try:
        return msgspec.json.decode(metadata[METADATA_KEY], type=PolicySpec)
    except msgspec.MsgspecError as error:
        raise PolicyError(f"policy {path} has metadata that this version cannot read: {error}") from error
