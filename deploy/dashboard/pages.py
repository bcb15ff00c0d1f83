"""The pages that are open: each is sent what it lacks, as fast as it takes it, and is listened to."""

import asyncio
import time
from asyncio import Event
from collections import deque
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
        websocket = self.websocket
        while True:
            await self.news.wait()
            self.news.clear()
            if self._lacks("scene", board.scene):
                await websocket.send_text(board.opening().decode())
            if self._lacks("known", self.known):
                await websocket.send_text(f'{{"type": "known", "known": {str(self.known).lower()}}}')
            while self.refusals:
                refused = msgspec.json.encode({"type": "refused", "why": self.refusals.popleft()})
                await websocket.send_text(refused.decode())
            if self._lacks("curves", board.curves):
                await websocket.send_text(board.learned().decode())
            if self._lacks("rebuilt", board.rebuilt):
                await websocket.send_bytes(REBUILT + board.rebuilt)
            if self._lacks("now", board.newest):
                if picture := board.picture():
                    await websocket.send_bytes(CAMERA + picture)
                await websocket.send_text(board.now().decode())

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
