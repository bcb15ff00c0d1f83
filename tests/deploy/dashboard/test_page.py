"""The dashboard's page in a real browser, beside a real control loop and a car in real time."""

import signal
import time

import pytest

from benchmarks.witness import SOON_S, wait_for
from deploy.log.reader import read_log
from tests.deploy.dashboard.browser import (
    LOSSES,
    Drive,
    chromium,
    driving,
    needs_chromium,
    open_page,
    signal_browser,
    take_the_wheel,
)

pytestmark = needs_chromium


def ended(drive: Drive) -> list:
    """The log of a drive, which ends by that."""
    drive.loop.send_signal(signal.SIGINT)
    drive.loop.wait(SOON_S)
    return read_log(drive.log / "drive.mcap")


def test_the_emergency_stop_stops_a_driving_car_until_a_person_resets_and_starts_it(tmp_path):
    with driving(tmp_path) as drive, chromium() as browser:
        page = open_page(browser, drive.url)
        page.locator("#state", has_text="driving").wait_for()
        wait_for(lambda: drive.witness.speed_mps > 1.0)
        page.locator("#estop").click()
        page.locator("#state", has_text="e stop").wait_for()
        wait_for(lambda: drive.witness.speed_mps < 0.01)
        page.locator("[data-ask=start]").click()
        drive.assert_never_moves_again()
        page.locator("[data-ask=reset]").click()
        page.locator("#state", has_text="standby").wait_for()
        page.locator("[data-ask=start]").click()
        wait_for(lambda: drive.witness.speed_mps > 0.5)
        entries = ended(drive)
    asks = [ask for entry in entries for ask in entry.inputs.asks]
    assert list(dict.fromkeys(asks)) == ["e_stop", "start", "reset"]


@pytest.mark.parametrize(
    "loss", ["page closed", *(pytest.param(loss, marks=pytest.mark.slow) for loss in LOSSES if loss != "page closed")]
)
def test_a_car_that_is_driven_by_hand_stops_in_time_when_its_page_is_lost(tmp_path, loss):
    with driving(tmp_path) as drive, chromium() as browser:
        page = open_page(browser, drive.url)
        take_the_wheel(page)
        wait_for(lambda: drive.witness.speed_mps > 1.2)  # by hand: the policy drives 1.1
        lost_at_s = time.monotonic()
        try:
            LOSSES[loss](page, drive)
            assert drive.stop_after_s(lost_at_s) <= 0.15 + 0.02  # for the way of the news from process to process
            drive.assert_never_moves_again()
        finally:
            signal_browser(signal.SIGCONT)  # or it could not be closed


def test_on_a_phone_all_is_in_reach_and_the_emergency_stop_is_in_view_wherever_one_scrolls(tmp_path):
    with driving(tmp_path) as drive, chromium() as browser:
        page = open_page(browser, drive.url, 390, 844, has_touch=True, is_mobile=True)
        page.locator("#state", has_text="driving").wait_for()
        page.locator("[data-mode=user]").tap()
        page.locator("#pad").wait_for(state="visible")
        for top in (0, 400, 100_000):
            page.evaluate(f"scrollTo(0, {top})")
            box = page.locator("#estop").bounding_box()
            assert box["height"] >= 60
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
            assert box["y"] + box["height"] <= 844
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for button in page.locator("button:visible").all():
            assert button.bounding_box()["height"] >= 44  # of a finger


@pytest.mark.slow
def test_a_page_with_a_wrong_token_shows_the_car_and_has_no_buttons(tmp_path):
    with driving(tmp_path) as drive, chromium() as browser:
        page = browser.new_page()
        page.goto(drive.url[:-1] + "!")
        page.locator("#notice", has_text="token is wrong").wait_for()
        page.locator("#state", has_text="driving").wait_for()
        assert page.locator("button:visible").count() == 0
        page.evaluate("document.querySelector('#estop').click()")  # hidden as it is
        page.locator("#notice", has_text="may only watch").wait_for()
        assert {entry.safety for entry in ended(drive)} == {"standby", "driving"}


@pytest.mark.slow
def test_the_token_leaves_the_address_bar_and_survives_a_reload(tmp_path):
    with driving(tmp_path) as drive, chromium() as browser:
        page = open_page(browser, drive.url)
        assert "token" not in page.url
        page.reload()
        page.locator("#estop").wait_for(state="visible")
