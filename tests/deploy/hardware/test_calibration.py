"""A calibration file that would drive the car wrongly is refused in one line that names the field."""

import re
import tomllib
from pathlib import Path

import pytest

from deploy.hardware.calibration import Calibration, CalibrationError, read_calibration
from tests.deploy.boards import CALIBRATION, write_calibration

MANUAL = Path(__file__).parents[3] / "docs" / "vehicles.md"


def test_what_is_not_written_is_as_donkeycar_wires_it(tmp_path):
    calibration = read_calibration(write_calibration(tmp_path))
    assert (calibration.steering_channel, calibration.throttle_channel) == (1, 0)
    assert (calibration.address, calibration.frequency_hz, calibration.i2c_bus) == (0x40, 60, 1)
    assert calibration.left_us == 1900


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("left_us = 1200", "centre_us is 1500; expected between left_us, 1200, and right_us, 1100"),
        ("forward_us = 1500", "forward_us is stop_us, 1500; expected another"),
        ("brake_us = 1600", "brake_us is 1600; expected on the other side of stop_us, 1500, than forward_us, 1700"),
        ("steering_channel = 0", "steering_channel is throttle_channel, 0"),
        ("left_us = 19", "Expected `float` >= 500.0 - at `$.left_us`"),
        ("left_us = 'far'", "Expected `float`, got `str` - at `$.left_us`"),
        ("lefty_us = 1900", "Object contains unknown field `lefty_us`"),
        ("address = 0x100", "Expected `int` <= 127 - at `$.address`"),
        ("= 4", "Invalid statement (at line 14, column 1)"),
    ],
)
def test_what_cannot_be_is_said_in_one_line_that_names_the_file_and_the_field(tmp_path, line, told):
    field = line.partition(" ")[0]
    kept = [old for old in CALIBRATION.splitlines() if not old.startswith(f"{field} ")]
    path = tmp_path / "car.toml"
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(CalibrationError) as caught:
        read_calibration(path)
    assert str(caught.value) == f"calibration {path}: {told}"


def test_what_is_missing_is_named(tmp_path):
    path = tmp_path / "car.toml"
    path.write_text("left_us = 1900")
    with pytest.raises(CalibrationError, match="missing required field `centre_us`"):
        read_calibration(path)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(CalibrationError, match=r"car.toml cannot be read \(No such file .*see docs/vehicles.md"):
        read_calibration(tmp_path / "car.toml")


def test_the_manuals_example_is_one_and_knows_all_fields(tmp_path):
    example = re.search(r"```toml\n(.*?)```", MANUAL.read_text(), re.DOTALL).group(1)
    path = tmp_path / "car.toml"
    path.write_text(example)
    read_calibration(path)
    assert set(tomllib.loads(example)) == set(Calibration.__struct_fields__)
