"""The control loop's end of the line to the dashboard's process. Nothing here ever waits."""

import socket
from collections.abc import Iterator

from deploy.dashboard.messages import Asked, Told, asked, encode

PACKET_BYTES = 1 << 18  # more than any message to the page has
ASKED_BYTES = 1 << 12  # and any from it
HEARD = 256  # messages at a time; a page sends a few in a control period
EVERY_S = 0.045  # between two cycles that are shown: all at 10 and 20 Hz, every fifth at 100 Hz


class Link:
    """One end of a socket pair that keeps messages whole; `gone` once the other end is.

    url: where the page is, with the token by which it is listened to; `to_watch` is the same without.
    """

    def __init__(self, line: socket.socket, url: str) -> None:
        self.url, self.gone = url, False
        self._line, self._told_at_s = line, float("-inf")
        line.setblocking(False)

    @property
    def to_watch(self) -> str:
        """For those who shall press nothing, or where there is nothing to press."""
        return self.url.partition("#")[0]

    def due(self, now_s: float) -> bool:
        """Whether the last message is so long ago that it is time for another cycle; if so, the time runs anew."""
        if now_s - self._told_at_s < EVERY_S:
            return False
        self._told_at_s = now_s
        return True

    def tell(self, message: Told) -> bool:
        """Send a message; False if there is no room for it, as the other process is slow, or nobody to hear it."""
        try:
            self._line.send(encode(message))
        except BlockingIOError:
            return False
        except ConnectionError:
            self.gone = True
            return False
        return True

    def heard(self) -> Iterator[Asked]:
        """What was asked for since the last time, in that order."""
        for _ in range(HEARD):
            try:
                packet = self._line.recv(ASKED_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                packet = b""
            if not packet:
                self.gone = True
                return
            yield asked.decode(packet)

    def close(self) -> None:
        """Hang up, which ends the other process."""
        self._line.close()
