"""The dashboard's web server: a page of plain files, and a websocket by which pages see the car and are listened to.

It is for this machine alone: it listens on loopback, answers only to names of it (else a foreign site could have its
own name lead here: DNS rebinding), and takes websockets only from its own pages (any site may open one).
"""

import asyncio
import socket
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from deploy.dashboard.board import Board
from deploy.dashboard.ear import Ear
from deploy.dashboard.follow import follow_run, rebuild
from deploy.dashboard.line import Line
from deploy.dashboard.pages import Pages

FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/hands.js": ("hands.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HOSTS = ["127.0.0.1", "localhost"]
MESSAGE_BYTES = 1024  # of a page
FAREWELL_S = 0.3  # for the pages to hear that it is over


def application(pages: Pages) -> Starlette:
    """Files and websocket."""

    async def file(request: Request) -> Response:
        name, kind = FILES[request.url.path]
        return Response((Path(__file__).parent / name).read_bytes(), media_type=kind, headers=HEADERS)

    routes = [*(Route(path, file) for path in FILES), WebSocketRoute("/live", pages.live)]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)])


async def serve(line: socket.socket, listener: socket.socket, token: str) -> None:
    """Serve pages on that socket until the line to the control loop is closed."""
    board, loop_line = Board(), Line(line)
    pages = Pages(board, Ear(token, loop_line.say))
    loop_line.listen(pages.take)
    config = uvicorn.Config(
        application(pages),
        log_level="error",
        lifespan="off",
        http="h11",
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    beside = [asyncio.create_task(each(pages)) for each in (follow_run, rebuild)]
    await loop_line.over.wait()
    pages.end()
    await asyncio.sleep(FAREWELL_S)
    server.should_exit = True
    for task in beside:
        task.cancel()
    await serving
