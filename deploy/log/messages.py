"""What is written to a drive log of every tick: one message per topic, in Foxglove's schemas where there is one.

Foxglove and Rerun show these without being told how; `docs/drive-logs.md` lists the topics.
"""

from collections.abc import Iterator
from math import cos, isfinite, sin
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from numpy.typing import NDArray

from deploy.log.entries import DriveFacts, Entry
from deploy.log.numbers import Numbers, numbers
from deploy.vehicles import Truth

METADATA = "lapwing"  # name of the record with the facts
CAMERA, TICK = "/camera", "/tick"  # the two that a replay reads
MAP, CAR, CAMERA_FRAME = "map", "car", "camera"  # frames of reference; the map is the plane of the simulated world
FOXGLOVE: dict[str, type[Message]] = {
    CAMERA: CompressedImage,
    "/pose": PoseInFrame,
    "/tf": FrameTransform,
    "/log": Log,
    "/numbers": Numbers,
}
EVENTS = {"driving": Log.Level.INFO, "standby": Log.Level.INFO, "degraded": Log.Level.WARNING}  # others are errors


class Schema(NamedTuple):
    """How the messages of a topic are written."""

    name: str
    encoding: str  # of the schema
    text: bytes
    message_encoding: str


def schemas() -> dict[str, Schema]:
    """Topic -> schema of its messages."""
    ours = msgspec.json.schema(Entry)
    tick = Schema("lapwing.Entry", "jsonschema", msgspec.json.encode(_plain(ours, ours["$defs"])), "json")
    foxglove = {topic: _protobuf(message) for topic, message in FOXGLOVE.items()}
    return {TICK: tick, **foxglove}


def messages(
    before: Entry | None, entry: Entry, image: NDArray[np.uint8], stamp_ns: int
) -> Iterator[tuple[str, bytes]]:
    """What a tick leaves on which topic; `before` is the entry of the tick before.

    image: (H, W, 3) uint8 RGB; of any other shape none is written, the entry's fault says so.
    """
    if image.ndim == 3 and image.shape[2] == 3 and image.size:
        yield CAMERA, _sent(CompressedImage(frame_id=CAMERA_FRAME, format="png", data=to_png(image)), stamp_ns)
    if entry.truth:
        yield from _whereabouts(entry.truth, stamp_ns)
    if event := _event(before, entry):
        yield "/log", _sent(event, stamp_ns)
    yield "/numbers", numbers(entry).SerializeToString()
    yield TICK, to_json(entry)


def to_png(image: NDArray[np.uint8]) -> bytes:
    """An RGB image as PNG, which loses nothing."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def from_camera(message: bytes) -> NDArray[np.uint8]:
    """The image of a message on the camera's topic, (H, W, 3) uint8 RGB, bit for bit what was written."""
    picture = cv2.imdecode(np.frombuffer(CompressedImage.FromString(message).data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("a camera image is no picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def to_json(entry: Entry) -> bytes:
    """An entry as JSON; every float is the very same when it is read, also what JSON knows no number for."""
    return msgspec.json.encode(_spelled(msgspec.to_builtins(entry)))


def from_json(text: bytes) -> Entry:
    """Raises msgspec.MsgspecError for what is no entry."""
    return msgspec.json.decode(text, type=Entry, strict=False)  # not strict: "nan" is a number


def to_metadata(facts: DriveFacts) -> dict[str, str]:
    """The facts of a drive, each as JSON under its name."""
    return {name: msgspec.json.encode(value).decode() for name, value in msgspec.structs.asdict(facts).items()}


def from_metadata(metadata: dict[str, str]) -> DriveFacts:
    """Raises msgspec.MsgspecError for what are no facts."""
    return msgspec.convert({name: msgspec.json.decode(text) for name, text in metadata.items()}, DriveFacts)


def _spelled(value: Any) -> Any:
    """Floats that are not finite as words: a sensor or a policy may give such, and just then the log is wanted."""
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, dict):
        return {name: _spelled(part) for name, part in value.items()}
    return [_spelled(part) for part in value] if isinstance(value, list | tuple) else value


def _whereabouts(truth: Truth, stamp_ns: int) -> Iterator[tuple[str, bytes]]:
    pose, transform = PoseInFrame(frame_id=MAP), FrameTransform(parent_frame_id=MAP, child_frame_id=CAR)
    for place, turn in ((pose.pose.position, pose.pose.orientation), (transform.translation, transform.rotation)):
        place.x, place.y = truth.x_m, truth.y_m
        turn.z, turn.w = sin(truth.yaw_rad / 2), cos(truth.yaw_rad / 2)  # the quaternion of a turn about z
    yield "/pose", _sent(pose, stamp_ns)
    yield "/tf", _sent(transform, stamp_ns)


def _event(before: Entry | None, entry: Entry) -> Log | None:
    """What the safety machine has done, if it is not what it was."""
    was = before.safety if before else "standby"
    fault = f"{entry.fault.kind}: {entry.fault.detail}" if entry.fault else ""
    news = entry.fault is not None and (before is None or before.fault is None or before.fault.kind != entry.fault.kind)
    if entry.safety == was and not news and not entry.inputs.asks:
        return None
    asked = f"asked to {', '.join(entry.inputs.asks)}" if entry.inputs.asks else ""
    level = EVENTS.get(entry.safety, Log.Level.ERROR) if entry.safety != was else Log.Level.WARNING
    parts = (f"{was} -> {entry.safety}" if entry.safety != was else was, fault, asked)
    return Log(level=level, message="; ".join(filter(None, parts)), name="safety")


def _sent(message: Any, stamp_ns: int) -> bytes:
    message.timestamp.FromNanoseconds(stamp_ns)
    return message.SerializeToString()


def _plain(schema: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema in the few words that Foxglove knows: no references, unions, tuples or enumerations.

    What may be null is said to be what it is otherwise.
    """
    if "$ref" in schema:
        return _plain(names[schema["$ref"].rpartition("/")[2]], names)
    if "anyOf" in schema:
        return _plain(next(each for each in schema["anyOf"] if each != {"type": "null"}), names)
    if "enum" in schema:
        return {"type": "string"}
    match schema["type"]:
        case "object":
            return {"type": "object", "properties": {k: _plain(v, names) for k, v in schema["properties"].items()}}
        case "array":
            return {"type": "array", "items": _plain(schema.get("items") or schema["prefixItems"][0], names)}
    return {"type": schema["type"]}


def _protobuf(message: type[Message]) -> Schema:
    files: dict[str, Any] = {}
    _gather(message.DESCRIPTOR.file, files)
    described = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(described.file.add())
    return Schema(message.DESCRIPTOR.full_name, "protobuf", described.SerializeToString(), "protobuf")


def _gather(file: Any, files: dict[str, Any]) -> None:
    """A `FileDescriptor`, after all that it builds on."""
    for dependency in file.dependencies:
        _gather(dependency, files)
    files[file.name] = file
