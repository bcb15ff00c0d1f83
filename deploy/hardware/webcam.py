"""A camera of which only the newest picture counts."""

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from deploy.hardware.calibration import Calibration
from deploy.vehicles import VehicleError

START_S = 10.0  # to wait for the first picture; a USB camera takes a second or two

OpenCapture = Callable[[], Any]  # -> what OpenCV calls a VideoCapture


class Picture(NamedTuple):
    """What the camera saw."""

    image: NDArray[np.uint8]  # (height, width, 3) RGB
    captured_at_s: float  # time.monotonic() when it reached this machine; exposure and USB were some 10 ms before


def open_camera(calibration: Calibration) -> cv2.VideoCapture:
    """The camera that the calibration names, with as few pictures waiting in it as it can."""
    capture = cv2.VideoCapture(calibration.camera)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, calibration.camera_width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, calibration.camera_height)
    capture.set(cv2.CAP_PROP_FPS, calibration.camera_fps)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


class Webcam:
    """Reads the camera in a thread and keeps the newest picture.

    Raises VehicleError if no picture comes in the beginning.
    """

    def __init__(self, open_capture: OpenCapture) -> None:
        self._picture: Picture | None = None
        self._changed, self._closing = Event(), Event()
        self._thread = Thread(target=self._watch, args=(open_capture,), name="webcam", daemon=True)
        self._thread.start()
        if not self._changed.wait(START_S) or self._picture is None:
            self.close()
            raise VehicleError("the camera gives no picture; expected one that OpenCV can read, as /dev/video0")

    def newest(self) -> Picture:
        """The newest picture, as old as it may be. Raises VehicleError once the camera gives no more."""
        if self._picture is None or not self._thread.is_alive():
            raise VehicleError("the camera gives no more pictures; look at its cable")
        return self._picture

    def close(self) -> None:
        """Let go of the camera, unless it hangs."""
        self._closing.set()
        self._thread.join(timeout=1.0)

    def _watch(self, open_capture: OpenCapture) -> None:
        capture = open_capture()
        while not self._closing.is_set() and capture.grab():
            captured_at_s = time.monotonic()
            there, image = capture.retrieve()
            if not there:
                break
            self._picture = Picture(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), captured_at_s)
            self._changed.set()
        capture.release()
        self._changed.set()  # whoever waits for the first need not any more
