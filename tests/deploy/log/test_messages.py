"""Every tick can be had back to the bit, and Foxglove's own schemas say of it what it was."""

import math

import msgspec
import numpy as np
import pytest
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.driving.faults import Fault
from deploy.driving.safety import Inputs
from deploy.log.entries import Entry
from deploy.log.messages import from_camera, from_json, from_metadata, messages, schemas, to_json, to_metadata
from deploy.vehicles import Truth
from tests.deploy.entries import FACTS, entry, image

TRUTH = Truth(3.0, -4.0, math.pi / 2, 5.0, 0.1, None, False, edge_m=0.5)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)


def told(entry: Entry, before: Entry | None = None, picture: np.ndarray | None = None) -> dict[str, bytes]:
    return dict(messages(before, entry, image(0) if picture is None else picture, stamp_ns=1_500_000_000))


@settings(max_examples=50)
@given(speed_mps=FLOATS, action=st.tuples(FLOATS, FLOATS), now_s=st.floats(0, 1e9), state=st.lists(FLOATS))
def test_every_float_is_read_as_it_was_written(speed_mps, action, now_s, state):
    inputs = Inputs(now_s, now_s, speed_mps, action, Fault("camera", 'black "frame"'), ("stop", "reset"))
    written = entry(1, inputs=inputs, state=state, truth=TRUTH)
    read = from_json(to_json(written))
    assert repr(read) == repr(written)  # the shortest that tells a float from all others; and NaN is NaN


@pytest.mark.parametrize("height", [1, 7, 64])
def test_the_image_is_bit_for_bit_what_the_camera_saw(height):
    seen = np.random.default_rng(height).integers(0, 256, (height, 64, 3), np.uint8)
    message = told(entry(1), picture=seen)["/camera"]
    np.testing.assert_array_equal(from_camera(message), seen)
    picture = CompressedImage.FromString(message)
    assert (picture.format, picture.frame_id, picture.timestamp.ToNanoseconds()) == ("png", "camera", 1_500_000_000)


@pytest.mark.parametrize("shape", [(0, 0, 3), (64, 64), (64, 64, 4)])
def test_what_is_no_picture_is_left_out_and_the_rest_is_written(shape):
    topics = told(entry(1), picture=np.zeros(shape, np.uint8))
    assert "/camera" not in topics
    assert "/tick" in topics


def test_the_simulated_car_stands_in_the_map_where_the_truth_says_so():
    topics = told(entry(1, truth=TRUTH))
    pose, transform = PoseInFrame.FromString(topics["/pose"]), FrameTransform.FromString(topics["/tf"])
    assert (pose.frame_id, transform.parent_frame_id, transform.child_frame_id) == ("map", "map", "car")
    for place, turn in (
        (pose.pose.position, pose.pose.orientation),
        (transform.translation, transform.rotation),
    ):
        assert (place.x, place.y, place.z) == (3.0, -4.0, 0.0)
        assert (turn.z, turn.w) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))  # a quarter turn to the left
        assert (turn.x, turn.y) == (0, 0)
    assert not {"/pose", "/tf"} & told(entry(1, truth=None)).keys()  # of a real car nobody knows it


@pytest.mark.parametrize(
    ("before", "changes", "level", "message"),
    [
        (None, {"safety": "driving"}, "INFO", "standby -> driving"),
        ("driving", {"safety": "degraded", "fault": Fault("silent", "late")}, "WARNING", "silent: late"),
        ("degraded", {"safety": "safe_stop", "fault": Fault("camera", "black")}, "ERROR", "camera: black"),
        ("driving", {"safety": "e_stop", "asks": ("e_stop",)}, "ERROR", "driving -> e_stop; asked to e_stop"),
        ("standby", {"safety": "standby", "fault": Fault("log", "full")}, "WARNING", "standby; log: full"),
    ],
)
def test_what_the_safety_machine_does_is_an_event(before, changes, level, message):
    inputs = Inputs(0.1, 0.1, 2.0, None, changes.get("fault"), changes.get("asks", ()))
    event = told(entry(2, safety=changes["safety"], inputs=inputs), before and entry(1, safety=before))["/log"]
    log = Log.FromString(event)
    assert (Log.Level.Name(log.level), log.name) == (level, "safety")
    assert message in log.message


def test_a_tick_like_the_one_before_is_no_event():
    silent = Inputs(0.1, 0.1, 2.0, None, Fault("silent", "silent"))
    again = msgspec.structs.replace(silent, fault=Fault("silent", "silent, still"))
    assert "/log" not in told(entry(2), entry(1))
    assert "/log" not in told(entry(2, safety="degraded", inputs=again), entry(1, safety="degraded", inputs=silent))


def test_every_schema_describes_its_messages_by_itself():
    topics = told(entry(1, truth=TRUTH, safety="e_stop"))
    described = schemas()
    assert topics.keys() == described.keys()
    for topic, schema in described.items():
        if schema.encoding == "protobuf":
            read = _decoded(schema, topics[topic])
            assert read.ByteSize() > 0
            assert len(UnknownFieldSet(read)) == 0


JSON = {"boolean": bool, "string": str, "integer": int, "number": float, "array": list}


def test_the_schema_of_a_tick_fits_it_in_the_words_that_foxglove_knows():
    inputs = Inputs(0.1, 0.1, 2.0, (0.0, 0.5), Fault("camera", "black"), ("stop",))
    full = entry(1, truth=TRUTH, inputs=inputs, hands=(0.0, 0.0), novelty=0.5, value=1.0)
    _assert_fits(msgspec.json.decode(told(full)["/tick"]), msgspec.json.decode(schemas()["/tick"].text))


def _assert_fits(value: object, schema: dict) -> None:
    """By its rules: every property has one type, objects have properties, arrays have one kind of items."""
    if schema["type"] == "object":
        assert schema["properties"].keys() == value.keys()
        for name, part in schema["properties"].items():
            if value[name] is not None:
                _assert_fits(value[name], part)
        return
    assert isinstance(value, JSON[schema["type"]])
    for item in value if schema["type"] == "array" else ():
        _assert_fits(item, schema["items"])


def _decoded(schema, message: bytes):
    """As one decodes who knows nothing but the file."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(schema.text).file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(schema.name)).FromString(message)


def test_the_numbers_are_those_of_the_tick_and_a_gap_where_there_are_none():
    schema = schemas()["/numbers"]
    read = _decoded(schema, told(entry(1, action=(0.25, 0.5), novelty=None, truth=TRUTH))["/numbers"])
    assert (read.policy_steering, read.policy_speed, read.speed_mps) == (0.25, 0.5, 2.0)
    assert (read.distance_m, read.lateral_offset_m, read.edge_m) == (5.0, 0.1, 0.5)
    assert (read.round_trip_ms, read.inference_ms, read.lateness_ms) == (1.0, 0.5, 0.1)
    assert math.isnan(read.novelty)
    silent = _decoded(schema, told(entry(1, action=None, truth=None))["/numbers"])
    assert math.isnan(silent.policy_steering)
    assert math.isnan(silent.distance_m)


def test_the_facts_of_a_drive_are_read_as_they_were_written():
    assert from_metadata(to_metadata(FACTS)) == FACTS
