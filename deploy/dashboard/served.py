"""What the page shows of a policy server."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from deploy.dashboard.link import Link
from deploy.dashboard.messages import Scene, Serving

if TYPE_CHECKING:
    from deploy.policy_server.server import PolicyServer

EVERY_S = 0.25
MOST = 1000  # inference times in a message


class Served:
    """`show` wants to be called often, and never waits."""

    def __init__(
        self, link: Link, server: "PolicyServer", reloads: dict[str, int], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._link, self._server, self._reloads, self._now = link, server, reloads, now
        self._shown_at_s, self._answered = float("-inf"), 0
        link.tell(Scene(kind="serve", title=f"policy server, run {server.policy.spec.run}"))

    def show(self) -> None:
        """Show what was done so far, if the last time was long enough ago."""
        now_s = self._now()
        if now_s - self._shown_at_s < EVERY_S:
            return
        server, answered = self._server, self._server.counts["action"]
        self._shown_at_s = now_s
        new = server.newest_inferences_ms(min(answered - self._answered, MOST))
        policy, counts = server.policy, dict(server.counts)
        serving = Serving(
            at_s=now_s,
            policy_id=policy.id,
            run=policy.spec.run,
            counts=counts,
            reloads=dict(self._reloads),
            inferences_ms=new,
        )
        if self._link.tell(serving):
            self._answered = answered
