"""The dashboard's end of the line to the control loop."""

import socket
from asyncio import Event, get_running_loop
from collections import deque
from collections.abc import Callable

from deploy.dashboard.link import PACKET_BYTES
from deploy.dashboard.messages import Asked, Held, Told, Watched, encode, told


class Line:
    """Says at once what was asked for, and what does not fit when it does; `over` once the loop has hung up."""

    def __init__(self, line: socket.socket) -> None:
        self.over = Event()
        self._line, self._loop = line, get_running_loop()
        self._waiting: deque[bytes] = deque()  # as the loop stands still; an E-STOP must reach it when it goes on
        line.setblocking(False)

    def listen(self, hear: Callable[[Told], object]) -> None:
        """Have `hear` told what the control loop tells, from now on."""
        self._loop.add_reader(self._line, self._read, hear)

    def say(self, message: Asked) -> None:
        """Send what was asked for; hands and eyes that the loop is too slow for are not worth waiting."""
        self._waiting.append(encode(message))
        if not self._flush() and isinstance(message, Held | Watched):
            self._waiting.pop()

    def _flush(self) -> bool:
        """Whether all could be sent."""
        while self._waiting:
            try:
                self._line.send(self._waiting[0])
            except BlockingIOError:
                self._loop.add_writer(self._line, self._flush)
                return False
            except ConnectionError:
                self.over.set()
            self._waiting.popleft()
        self._loop.remove_writer(self._line)
        return True

    def _read(self, hear: Callable[[Told], object]) -> None:
        try:
            packet = self._line.recv(PACKET_BYTES)
        except ConnectionError:
            packet = b""
        if packet:
            hear(told.decode(packet))
        else:
            self._loop.remove_reader(self._line)
            self.over.set()
