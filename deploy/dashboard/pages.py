"""The pages that are open: each is sent what it lacks, as fast as it takes it, and is listened to."""

import asyncio
import time
from asyncio import Event
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from deploy.dashboard.board import Board
from deploy.dashboard.ear import Ear
from deploy.dashboard.messages import Told, from_page

CAMERA, REBUILT = b"\0", b"\1"  # before a picture: which one it is
POLICY_VIOLATION = 1008  # of RFC 6455


class Page:
    """An open page: `news` is set when there is something to send it."""

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket, self.news = websocket, Event()
        self.refusals: deque[str] = deque(maxlen=4)
        self.known = False
        self.sent: dict[str, object] = {}  # what of the board it has

    async def send(self, board: Board) -> None:
        """Send what the page does not have yet; a slow page gets less often what is newest."""
        while True:
            await self.news.wait()
            self.news.clear()
            for part in self._lacking(board):
                if isinstance(part, str):
                    await self.websocket.send_text(part)
                else:
                    await self.websocket.send_bytes(part)

    def _lacking(self, board: Board) -> Iterator[str | bytes]:
        """What the page does not have: JSON as text, pictures as bytes; a picture before what belongs to it."""
        if self._lacks("scene", board.scene):
            yield board.opening()
        if self._lacks("known", self.known):
            yield '{"type": "known"}'
        while self.refusals:
            yield msgspec.json.encode({"type": "refused", "why": self.refusals.popleft()}).decode()
        if self._lacks("curves", board.curves):
            yield board.learned()
        if self._lacks("rebuilt", board.rebuilt):
            yield REBUILT + board.rebuilt
        if self._lacks("now", board.newest):
            if picture := board.picture():
                yield CAMERA + picture
            yield board.now()

    def _lacks(self, what: str, newest: object) -> bool:
        lacks = bool(newest) and self.sent.get(what) is not newest
        self.sent[what] = newest
        return lacks


class Pages:
    """All open pages."""

    def __init__(self, board: Board, ear: Ear) -> None:
        self.board, self.open = board, set[Page]()
        self._ear = ear

    def take(self, message: Told) -> None:
        """The control loop has told something."""
        self.board.take(message)
        self.wake()

    def end(self) -> None:
        """It has told its last."""
        self.board.end()
        self.wake()

    def wake(self) -> None:
        """There is news for all."""
        for page in self.open:
            page.news.set()

    async def live(self, websocket: WebSocket) -> None:
        """A page's websocket, from beginning to end."""
        if websocket.headers.get("origin") != f"http://{websocket.headers.get('host')}":
            return await websocket.close(POLICY_VIOLATION)  # before it is accepted: HTTP 403
        await websocket.accept()
        page = Page(websocket)
        self.open.add(page)
        page.news.set()
        tasks = [asyncio.create_task(self._hear(page)), asyncio.create_task(page.send(self.board))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ear.leave(page)
            self.open.discard(page)
            for task in tasks:
                task.cancel()
        with suppress(asyncio.CancelledError, WebSocketDisconnect):  # it went while it was sent to
            await asyncio.gather(*tasks)
        return None

    async def _hear(self, page: Page) -> None:
        """Listen until the page is gone, or says what means nothing."""
        while (message := await page.websocket.receive())["type"] == "websocket.receive":
            try:
                said = from_page.decode(message.get("text") or message.get("bytes") or b"")
            except msgspec.MsgspecError:
                return await page.websocket.close(POLICY_VIOLATION)
            why = self._ear.hear(page, said, time.monotonic())
            if why:
                page.refusals.append(why)
            elif not page.known:
                page.known = True
            else:
                continue
            page.news.set()
        return None
