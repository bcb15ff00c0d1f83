"""A real headless Chromium, and a real drive with the dashboard open whose car is watched from outside."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.witness import ADDRESS, Witness, wait_for
from tests.deploy.policies import constant_policy

ROOT = Path(__file__).parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Drive:
    """A car that is driven by a control loop in a process of its own, with the dashboard open."""

    def __init__(self, witness: Witness, loop: subprocess.Popen, log: Path) -> None:
        self.witness, self.loop, self.log = witness, loop, log
        line = next(line for line in loop.stdout if line.startswith("dashboard at "))
        self.url = line.split()[-1]
        # the only process that this loop starts for itself (Linux)
        self.dashboard = next(pid for pid in offspring(loop.pid) if b"spawn_main" in command_line(pid))

    def stop_after_s(self, moment_s: float) -> float:
        """From that moment until the car was commanded to stand, or braked by itself; once it stands."""
        wait_for(lambda: self.witness.rest_after_s(moment_s) is not None)
        stop_s = self.witness.stop_after_s(moment_s)
        assert stop_s is not None
        return stop_s

    def assert_never_moves_again(self, cycles: int = 8) -> None:
        """In so many control periods, although nothing else is wrong."""
        assert self.witness.stays_put(cycles)


@contextmanager
def driving(folder: Path, **config: object) -> Iterator[Drive]:
    """Such a drive, by a policy that goes straight on at 1.1 m/s."""
    policy = constant_policy(folder / "policy.onnx", steering=0.0, speed=-0.2)
    told = {"policy": str(policy), "out": str(folder / "drive"), "dashboard": 0, "metrics_port": None, **config}
    with Witness(folder) as witness:
        command = [sys.executable, "-m", "benchmarks.witness", json.dumps(told)]
        env = os.environ | {ADDRESS: witness.address}
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=env) as loop:
            try:
                yield from _watched(Drive(witness, loop, folder / "drive"))
            finally:
                loop.kill()


def _watched(drive: Drive) -> Iterator[Drive]:
    """A drive at whose end a dashboard that was stopped goes on, to see that it is over."""
    try:
        yield drive
    finally:
        with suppress(ProcessLookupError):
            os.kill(drive.dashboard, signal.SIGCONT)


def open_page(browser: Browser, url: str, width: int = 1280, height: int = 900, **context: object) -> Page:
    """The dashboard's page, once it is listened to."""
    page = browser.new_context(viewport={"width": width, "height": height}, **context).new_page()
    page.goto(url)
    page.locator("#estop").wait_for(state="visible")
    return page


def take_the_wheel(page: Page) -> None:
    """Hold the pad half way up: 1.4 m/s."""
    page.locator("[data-mode=user]").click()
    pad = page.locator("#pad")
    pad.wait_for(state="visible")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    page.mouse.down()


def offspring(pid: int) -> list[int]:
    """Ids of all processes that descend from one (Linux)."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        children += [int(child) for child in task.read_text().split()]
    return children + [grandchild for child in children for grandchild in offspring(child)]


def command_line(pid: int) -> bytes:
    """What a process was started by; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def signal_browser(number: signal.Signals) -> None:
    """Send a signal to all processes of our browsers."""
    for pid in offspring(os.getpid()):
        if b"chromium" in command_line(pid).split(b"\0")[0]:
            os.kill(pid, number)


def close(page: Page, drive: Drive) -> None:
    page.close()


def kill_browser(page: Page, drive: Drive) -> None:
    signal_browser(signal.SIGKILL)


def freeze_browser(page: Page, drive: Drive) -> None:
    signal_browser(signal.SIGSTOP)


def kill_dashboard(page: Page, drive: Drive) -> None:
    os.kill(drive.dashboard, signal.SIGKILL)


def freeze_dashboard(page: Page, drive: Drive) -> None:
    os.kill(drive.dashboard, signal.SIGSTOP)


def cover(page: Page, drive: Drive) -> None:
    """As when another tab is chosen; a browser without a screen never hides one."""
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {get: () => true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )


LOSSES: dict[str, Callable[[Page, Drive], None]] = {
    "page closed": close,
    "another tab chosen": cover,
    "browser kill -9": kill_browser,
    "browser SIGSTOP": freeze_browser,
    "dashboard kill -9": kill_dashboard,
    "dashboard SIGSTOP": freeze_dashboard,
}
