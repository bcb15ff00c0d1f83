"""What the encoder keeps of a picture, rebuilt, in a thread of the dashboard's process that makes way for others."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.policy import METADATA_KEY, ONNX_FAILURES, session_of
from deploy.policy_spec import PolicyError, PolicySpec

NICE = 10
EXPECTED = "what `lapwing export --eyes` wrote"


class Eyes:
    """Image uint8 (H, W, 3) in, what the encoder keeps of it out, uint8 (rows, W, 3) RGB; `lapwing export --eyes`.

    Raises PolicyError for a file that is missing or something else.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._session = session_of(path.read_bytes())
            notes = self._session.get_modelmeta().custom_metadata_map
            self.spec = msgspec.json.decode(notes[METADATA_KEY], type=PolicySpec)
        except (*ONNX_FAILURES, OSError, KeyError, msgspec.MsgspecError) as error:
            raise PolicyError(f"eyes {path} cannot be used ({error}); expected {EXPECTED}") from error
        if [output.name for output in self._session.get_outputs()] != ["rebuilt"]:
            raise PolicyError(f"eyes {path} rebuild nothing; expected {EXPECTED}")

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (rebuilt,) = self._session.run(["rebuilt"], {"image": image[None]})
        return np.asarray(rebuilt, np.uint8)[0]

    def fits(self, image: NDArray[np.uint8]) -> bool:
        """Whether it is an image of the size that the encoder knows."""
        return image.shape == (self.spec.image_height, self.spec.image_width, 3)


def humble_worker() -> ThreadPoolExecutor:
    """A thread that runs when nobody else wants to (on Linux niceness is a thread's own)."""
    return ThreadPoolExecutor(1, "rebuild", initializer=os.nice, initargs=(NICE,))
