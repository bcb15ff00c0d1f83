"""The dashboard's process: who may look, who may ask, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import lapwing
from benchmarks.witness import SOON_S, wait_for
from deploy.dashboard.link import Link
from deploy.dashboard.messages import Cycle, Press, Scene
from deploy.dashboard.process import DashboardError, opened

ROOT = Path(__file__).parents[3]
OPEN = (
    "import time\nfrom deploy.dashboard.process import opened\n"
    "with opened(0) as link:\n    print(link.url, flush=True)\n    time.sleep(600)\n"
)
SCENE = Scene(kind="drive", title="a car", hands=True)


@pytest.fixture(scope="module")
def dashboard() -> Iterator[Link]:
    """One for all tests here; nothing of it is remembered from one to the next."""
    with opened(0) as link:
        link.tell(SCENE)
        yield link


def page(url: str, **options: object) -> ClientConnection:
    """What a page does, without a browser."""
    host = urlsplit(url).netloc
    return connect(f"ws://{host}/live", origin=f"http://{host}", open_timeout=SOON_S, **options)


def say(websocket: ClientConnection, **message: object) -> None:
    websocket.send(msgspec.json.encode(message).decode())


def told(websocket: ClientConnection, kind: str) -> dict:
    """The next message of that kind."""
    while (message := msgspec.json.decode(websocket.recv(SOON_S)))["type"] != kind:
        pass
    return message


def until_closed(websocket: ClientConnection) -> list[str | bytes]:
    """What comes until the other side hangs up."""
    messages: list[str | bytes] = []
    with suppress(ConnectionClosed):
        while True:
            messages.append(websocket.recv(SOON_S))
    return messages


def token(url: str) -> str:
    return urlsplit(url).fragment.removeprefix("token=")


def cycle() -> Cycle:
    now_s = time.monotonic()
    fields = {"state": "driving", "steering": 0.0, "speed": 0.0, "speed_mps": 1.0, "cycles": 1, "missed": 0}
    return Cycle(at_s=now_s, t_s=1.0, **fields)


def heard(link: Link, count: int) -> list:
    """That many of the messages that reach the loop."""
    found: list = []
    wait_for(lambda: found.extend(link.heard()) or len(found) >= count)
    return found


def test_anybody_on_this_machine_may_watch_and_only_who_has_the_token_is_listened_to(dashboard):
    with page(dashboard.url) as watcher, page(dashboard.url) as driver:
        assert told(watcher, "scene")["title"] == "a car"
        for wrong in (None, "wrong", ""):
            if wrong is not None:
                say(watcher, type="token", token=wrong)
                told(watcher, "refused")
            say(watcher, type="press", ask="e_stop")
            assert "may only watch" in told(watcher, "refused")["why"]
        say(driver, type="token", token=token(dashboard.url))
        told(driver, "known")
        say(driver, type="press", ask="stop")
        assert heard(dashboard, 1) == [Press(ask="stop")]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", None, "http://127.0.0.1:1", "https://127.0.0.1", "http://localhost"]
)
def test_a_page_of_another_site_cannot_open_the_line(dashboard, origin):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{urlsplit(dashboard.url).netloc}/live", origin=origin)
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::1]"])
def test_a_foreign_name_that_leads_here_is_not_answered_to(dashboard, host):
    at = urlsplit(dashboard.url)
    connection = HTTPConnection(at.hostname, at.port, timeout=SOON_S)
    connection.request("GET", "/", headers={"Host": f"{host}:{at.port}"})
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize(
    "junk",
    [
        "",
        "{",
        "[]",
        '{"type": "press"}',
        '{"type": "press", "ask": "fly"}',
        '{"type": "hold", "steering": 1.5, "speed": 0, "seen_s": 0}',
        '{"type": "hold", "steering": NaN, "speed": 0, "seen_s": 0}',
        '{"type": "held", "steering": 0, "speed": 1, "until_s": 1e9}',  # what only this machine may say
        '{"type": "press", "ask": "start", "seen_s": 1e999}',
        '{"type": "token", "token": "' + "x" * 2000 + '"}',
        b"\xff\xfe",
    ],
)
def test_a_page_that_talks_nonsense_is_hung_up_on_and_moves_nothing(dashboard, junk):
    with page(dashboard.url) as websocket, page(dashboard.url) as other:
        say(websocket, type="token", token=token(dashboard.url))
        told(websocket, "known")
        websocket.send(junk)
        until_closed(websocket)
        assert list(dashboard.heard()) == []
        assert told(other, "scene")


def test_an_emergency_stop_reaches_a_loop_that_stood_still_however_much_was_said_meanwhile(dashboard):
    with page(dashboard.url) as websocket:
        say(websocket, type="token", token=token(dashboard.url))
        told(websocket, "known")
        for _ in range(6):
            dashboard.tell(cycle())
            seen_s = told(websocket, "now")["at_s"]
            for _ in range(500):  # the line has room for some hundred
                say(websocket, type="hold", steering=0, speed=0, seen_s=seen_s)
        say(websocket, type="press", ask="e_stop")
        found: list = []
        wait_for(lambda: found.extend(dashboard.heard()) or Press(ask="e_stop") in found)
        assert len(found) < 3000
        websocket.close()
        wait_for(lambda: list(dashboard.heard()))  # it lets go


def test_the_page_asks_for_nothing_from_elsewhere_and_may_not_be_framed(dashboard):
    at = urlsplit(dashboard.url)
    connection = HTTPConnection(at.hostname, at.port, timeout=SOON_S)
    for path in ("/", "/page.css", "/page.js", "/draw.js", "/hands.js"):
        connection.request("GET", path)
        response = connection.getresponse()
        policy = response.headers["Content-Security-Policy"]
        assert response.status == 200
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"""(https?:)?//[\w.]+\.\w+|@import|unsafe""", response.read().decode() + policy)
    connection.request("GET", "/../app.py")
    assert connection.getresponse().status == 404
    connection.close()


def test_it_listens_on_loopback_alone(dashboard):
    port = urlsplit(dashboard.url).port
    table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    bound = {line.split()[1] for line in table.splitlines() if line.split()[1].endswith(f":{port:04X}")}
    assert bound == {f"0100007F:{port:04X}"}


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "episodes.csv").write_text("kind,distance_m,updates\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DashboardError, match=f"dashboard port {port} cannot be used.*in use"), opened(port):
            pass
        assert lapwing.main(["dashboard", "--run", str(tmp_path), "--port", str(port)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_pages_are_told_that_it_is_over():
    with opened(0) as link:
        link.tell(SCENE)
        link.tell(cycle())
        host = urlsplit(link.url).netloc
        websocket = connect(f"ws://{host}/live", origin=f"http://{host}", legacy=True)  # to hear what comes after
        assert told(websocket, "now")["over"] is False
    assert told(websocket, "now")["over"] is True
    websocket.close()


@pytest.mark.slow
def test_it_does_not_outlive_a_loop_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", OPEN], cwd=ROOT, stdout=subprocess.PIPE, text=True) as loop:
        url = loop.stdout.readline().strip()
        with page(url) as websocket:
            loop.send_signal(signal.SIGKILL)
            until_closed(websocket)
        at = urlsplit(url)

        def gone() -> bool:
            with socket.socket() as caller:
                return caller.connect_ex((at.hostname, at.port)) != 0

        wait_for(gone)


@pytest.mark.slow
def test_ctrl_c_at_the_terminal_is_for_the_loop_and_leaves_no_process():
    quiet, command = subprocess.DEVNULL, [sys.executable, "-c", OPEN]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=quiet, process_group=0) as loop:
        url = loop.stdout.readline().decode().strip()
        with page(url) as websocket:
            os.killpg(loop.pid, signal.SIGINT)
            assert '"over":true' in str(until_closed(websocket)[-1])
        assert loop.wait(SOON_S) != 0
