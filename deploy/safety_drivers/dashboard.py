"""A safety driver at the dashboard's page."""

import time
from collections.abc import Callable

from deploy.dashboard.link import Link
from deploy.dashboard.messages import Asked, Give, Press, Watched
from deploy.safety_drivers import Phase, Request, SafetyConfig, SafetyDriverError
from deploy.safety_drivers.buttons import ButtonDriver
from deploy.vehicles import Vehicle

ALONE: dict[Phase, list[Request]] = {"driving": ["takeover"], "placing": ["pause"], "waiting": ["pause"]}


class DashboardDriver(ButtonDriver):
    """Hears the page's buttons; a page that falls silent while the car drives has taken over.

    For then nobody could stop the car any more: the page says ten times a second that it is looked at. Where the car is
    about to drive and nobody looks, the episode is called off. Raises SafetyDriverError where there is no page.
    """

    def __init__(
        self,
        car: Vehicle,
        config: SafetyConfig,
        link: Link | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if link is None:
            raise SafetyDriverError("the safety driver at the dashboard needs a page; expected --dashboard PORT")
        super().__init__(car, config, now)
        self._link, self._watched_until_s = link, float("-inf")
        self.hint = f"the safety driver is whoever opens {link.url}"

    def close(self) -> None:
        """The line is closed by whoever opened it."""

    def _listen(self, phase: Phase) -> list[Request]:
        said: list[Request] = [request for message in self._link.heard() if (request := self._asked(message))]
        if self._link.gone:
            raise SafetyDriverError("the dashboard is gone, and nobody could stop the car any more; teaching ends")
        if not said and self._now() >= self._watched_until_s:
            said = ALONE.get(phase, [])
        return said

    def _asked(self, message: Asked) -> Request | None:
        match message:
            case Give(order=order):
                return order
            case Press():
                return "takeover"
            case Watched(until_s=until_s):
                self._watched_until_s = until_s
        return None
