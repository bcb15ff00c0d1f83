"""A PCA9685 and a camera without hardware: the board writes down every byte that it is sent, the camera counts."""

import os
import time
from pathlib import Path

import numpy as np

MODE1, PRESCALE, LED0 = 0x00, 0xFE, 0x06  # registers, data sheet table 4
SLEEP, AUTO_INCREMENT = 0x10, 0x20  # bits of MODE1, table 5

CALIBRATION = """
left_us = 1900
centre_us = 1500
right_us = 1100
forward_us = 1700
stop_us = 1500
arming_s = 0
top_speed_mps = 2.0
max_steering_rad = 0.5
max_steering_rate_radps = 1.0
speed_lag_s = 0.4
image_height = 8
image_width = 8
"""
# At 60 Hz the prescaler is round(25 MHz / (4096 · 60 Hz)) − 1 = 101, so a step is 102 / 25 MHz = 4.08 µs:
STOP, FORWARD, HALF = 368, 417, 392  # 1500 / 4.08 = 367.6; 1700 / 4.08 = 416.7; half way, 392.5, to even


def write_calibration(folder: Path, more: str = "") -> Path:
    path = folder / "car.toml"
    path.write_text(CALIBRATION + more)
    return path


def pulse(channel: int, steps: int) -> bytes:
    """The write that makes a channel's pulse so many steps long: LEDn_ON 0, LEDn_OFF steps, low bytes first."""
    return bytes([LED0 + 4 * channel, 0, 0, steps & 0xFF, steps >> 8])


def esc(steps: int) -> bytes:
    return pulse(0, steps)


def servo(steps: int) -> bytes:
    return pulse(1, steps)


class FakeBoard:
    """What the driver calls an I2C, with one board on it; `fails` writes from then on are not acknowledged."""

    def __init__(self, address: int = 0x40):
        self.address, self.writes, self.fails = address, [], 0
        self.registers = bytearray(256)
        self.registers[MODE1] = 0x11  # as it is switched on

    def try_lock(self) -> bool:
        return True

    def unlock(self) -> None:
        pass

    def writeto(self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None) -> None:
        data = bytes(buffer[start:end])
        if self.fails or address != self.address:
            self.fails = max(self.fails - 1, 0)
            raise OSError(121, "Remote I/O error")
        if not data:
            return
        self.written(data)
        register = data[0]
        for byte in data[1:]:
            if register == PRESCALE:
                assert self.registers[MODE1] & SLEEP, "the prescaler can only be set in sleep (7.3.5)"
            self.registers[register] = byte
            register += bool(self.registers[MODE1] & AUTO_INCREMENT)

    def written(self, data: bytes) -> None:
        self.writes.append(data)

    def pulse(self, channel: int) -> int:
        """Steps of the pulse that the board puts out."""
        low, high = self.registers[LED0 + 4 * channel + 2 : LED0 + 4 * channel + 4]
        return low | high << 8

    def readfrom_into(self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None) -> None:
        if address != self.address:
            raise OSError(121, "Remote I/O error")

    def writeto_then_readfrom(
        self, address: int, out: bytes, buffer: bytearray, *, out_start=0, out_end=None, in_start=0, in_end=None
    ) -> None:
        count = (len(buffer) if in_end is None else in_end) - in_start
        register = out[out_start]
        buffer[in_start : in_start + count] = self.registers[register : register + count]


class PipedBoard(FakeBoard):
    """Tells every write to whoever reads the FIFO: a line of the moment, the process and the bytes."""

    def __init__(self, fifo: Path, _bus: int = 1):
        super().__init__()
        self._fifo = os.open(fifo, os.O_WRONLY)

    def written(self, data: bytes) -> None:
        os.write(self._fifo, f"{time.monotonic()!r} {os.getpid()} {data.hex()}\n".encode())


class LooseBoard(PipedBoard):
    """Whose wire has come loose while a file of that name is there."""

    def __init__(self, fifo: Path, loose: Path, _bus: int):
        super().__init__(fifo)
        self._loose = loose

    def writeto(self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None) -> None:
        self.fails = int(self._loose.exists())
        super().writeto(address, buffer, start=start, end=end)


class FakeCapture:
    """What OpenCV calls a VideoCapture: every 10 ms a picture, whose blue is 1, 2, 3, …; `left` pictures are left."""

    def __init__(self, height: int = 12, width: int = 16, left: int = 10**9):
        self.height, self.width, self.left = height, width, left
        self.count, self.released = 0, False

    def grab(self) -> bool:
        time.sleep(0.01)
        self.left -= 1
        self.count += 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        image = np.full((self.height, self.width, 3), 100, np.uint8)
        image[:, :, 0] = self.count % 200
        return True, image

    def release(self) -> None:
        self.released = True
