"""Filming a drive without delaying it."""

import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import chain
from pathlib import Path
from queue import SimpleQueue

import av
import numpy as np
from av.container import OutputContainer
from numpy.typing import NDArray

BACKLOG = 8  # pictures that may wait for the encoder before more are dropped
ENCODER = {"preset": "veryfast", "crf": "23"}


class Video:
    """Encodes pictures to H.264 in a thread of its own; `dropped` counts those it was too slow for.

    The file appears under its name only when it is complete, and only if there was a picture.
    """

    def __init__(self, path: Path, period_s: float):
        self.dropped = 0
        self._path = path
        self._rate_hz = 1 / Fraction(period_s).limit_denominator(1000)
        self._queue: SimpleQueue[tuple[int, NDArray[np.uint8]] | None] = SimpleQueue()
        self._encoder = ThreadPoolExecutor(1, "video")
        self._encoded = self._encoder.submit(self._encode)

    def add(self, tick: int, picture: NDArray[np.uint8]) -> None:
        """Show `picture`, (height, width, 3) uint8 RGB, from this tick on; ticks must rise."""
        if self._queue.qsize() < BACKLOG:
            self._queue.put((tick, picture))
        else:
            self.dropped += 1

    def close(self) -> None:
        """Complete the file; raises what the encoder raised, such as OSError for a full disk."""
        self._queue.put(None)
        with self._encoder:
            self._encoded.result()

    def _encode(self) -> None:
        first = self._queue.get()
        if first is None:
            return
        part = self._path.with_name(self._path.name + ".part")
        with av.open(str(part), "w", format="mp4") as container:
            stream = self._stream(container, first[1])
            for tick, picture in chain([first], iter(self._queue.get, None)):
                frame = av.VideoFrame.from_ndarray(_even(picture), format="rgb24")
                frame.pts, frame.time_base = tick, 1 / self._rate_hz
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        os.replace(part, self._path)

    def _stream(self, container: OutputContainer, picture: NDArray[np.uint8]) -> av.VideoStream:
        stream = container.add_stream("libx264", rate=self._rate_hz, options=ENCODER)
        stream.height, stream.width = _even(picture).shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        return stream


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H.264 halves the colour's resolution and so takes even sizes only."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: height // 2 * 2, : width // 2 * 2])
