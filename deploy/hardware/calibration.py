"""What must be measured of a car with servo and speed controller (ESC) before it can be driven: a TOML file."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

Pulse = Annotated[float, Meta(ge=500, le=2500)]  # µs; no servo or ESC understands any other
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Channel = Annotated[int, Meta(ge=0, le=15)]


class CalibrationError(Exception):
    """A calibration file is missing, or says what cannot be."""

    exit_code = 2


class Calibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields without a default are each car's own."""

    left_us: Pulse  # servo, wheels at their full left
    centre_us: Pulse  # servo, wheels straight
    right_us: Pulse  # servo, wheels at their full right
    forward_us: Pulse  # ESC, the car drives at `top_speed_mps` on the flat
    stop_us: Pulse  # ESC, neutral
    brake_us: Pulse | None = None  # ESC, beyond neutral; None where that is reverse: the car then rolls out
    brake_s: Annotated[float, Meta(ge=0, le=2)] = 0.5  # at most that it brakes before it is told neutral
    arming_s: NotNegative = 1.0  # of neutral until an ESC that was just switched on obeys; as donkeycar waits
    top_speed_mps: Positive
    max_steering_rad: Positive  # of the wheels at `left_us`; the same to the right
    max_steering_rate_radps: Positive
    speed_lag_s: Positive  # until the car has reached 63 % of a new speed
    image_height: Count = 64  # px that the policy sees, as it was trained for
    image_width: Count = 64  # px
    camera: Annotated[int, Meta(ge=0)] = 0  # /dev/video0
    camera_height: Count = 240  # px that the camera is asked for
    camera_width: Count = 320  # px
    camera_fps: Positive = 30.0  # that the camera is asked for
    steering_channel: Channel = 1  # of the board; as donkeycar's
    throttle_channel: Channel = 0  # of the board; as donkeycar's
    i2c_bus: Annotated[int, Meta(ge=0)] = 1  # /dev/i2c-1: pins 3 and 5 of a Raspberry Pi
    address: Annotated[int, Meta(ge=0x40, le=0x7F)] = 0x40  # of the board, as it comes
    frequency_hz: Annotated[float, Meta(ge=40, le=100)] = 60.0  # of the pulses; as donkeycar's
    oscillator_hz: Annotated[float, Meta(ge=20e6, le=30e6)] = 25e6  # of the board; data sheet, each is some % off


def read_calibration(path: Path) -> Calibration:
    """Raises CalibrationError naming the field and what is expected."""
    try:
        calibration = msgspec.toml.decode(path.read_bytes(), type=Calibration)
    except OSError as error:
        raise CalibrationError(
            f"calibration {path} cannot be read ({error.strerror}); see docs/vehicles.md for how to write it"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CalibrationError(f"calibration {path}: {error}") from error
    _check(calibration, path)
    return calibration


def _check(told: Calibration, path: Path) -> None:
    """What no field alone can tell."""
    if (told.left_us - told.centre_us) * (told.right_us - told.centre_us) >= 0:
        raise CalibrationError(
            f"calibration {path}: centre_us is {told.centre_us:g}; "
            f"expected between left_us, {told.left_us:g}, and right_us, {told.right_us:g}"
        )
    if told.forward_us == told.stop_us:
        raise CalibrationError(f"calibration {path}: forward_us is stop_us, {told.stop_us:g}; expected another")
    if told.brake_us is not None and (told.forward_us - told.stop_us) * (told.brake_us - told.stop_us) >= 0:
        raise CalibrationError(
            f"calibration {path}: brake_us is {told.brake_us:g}; "
            f"expected on the other side of stop_us, {told.stop_us:g}, than forward_us, {told.forward_us:g}"
        )
    if told.steering_channel == told.throttle_channel:
        raise CalibrationError(f"calibration {path}: steering_channel is throttle_channel, {told.throttle_channel}")
