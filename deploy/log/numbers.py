"""The numbers of a tick as one flat message, for plots: Rerun does not look into JSON."""

from math import nan

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from deploy.log.entries import Entry

NAMES = (
    *("speed_mps", "steering_rad"),
    *("policy_steering", "policy_speed", "command_steering", "command_speed", "sent_steering", "sent_speed"),
    *("round_trip_ms", "inference_ms", "lateness_ms", "steal_ms", "novelty", "value"),
    *("distance_m", "lateral_offset_m", "edge_m"),
)


def _described() -> type[Message]:
    """The message type, made of the names: a compiled .proto file would say them a second time."""
    file = FileDescriptorProto(name="lapwing/numbers.proto", package="lapwing", syntax="proto3")
    message = file.message_type.add(name="Numbers")
    for number, name in enumerate(NAMES, 1):
        message.field.add(
            name=name,
            number=number,
            type=FieldDescriptorProto.TYPE_DOUBLE,
            label=FieldDescriptorProto.LABEL_OPTIONAL,
        )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("lapwing.Numbers"))


Numbers = _described()


def numbers(entry: Entry) -> Message:
    """What can be plotted of a tick; NaN, a gap in a plot, where there is nothing."""
    steering, speed = entry.action or (nan, nan)
    truth = entry.truth
    values = (
        *(entry.speed_mps, entry.steering_rad),
        *(steering, speed, entry.command.steering, entry.command.speed, *entry.sent),
        *(entry.round_trip_ms, entry.inference_ms, entry.lateness_ms, entry.steal_ms, entry.novelty, entry.value),
        *((truth.distance_m, truth.lateral_offset_m, truth.edge_m) if truth else (nan, nan, nan)),
    )
    filled = (nan if value is None else value for value in values)
    return Numbers(**dict(zip(NAMES, filled, strict=True)))
