"""What the driver's seat shows: a live line, and a sentence when the car stops or drives on."""

from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from deploy.driving.faults import Fault
from deploy.log.entries import STOPPED, DriveSummary, Entry

UNSEEN = 1.5  # novelty from which on a frame counts as unseen: of familiar ones one in a thousand, docs/perception.md
UNSEEN_TICKS = 5  # in a row until it is said, and familiar ones until it is taken back
REFRESH_TICKS = 2  # drawing the line takes about a millisecond


class Display:
    """Shows a drive on the terminal; without a terminal only the sentences are printed."""

    def __init__(self, policy: str, watchdog_s: float):
        self._console = Console(soft_wrap=True, markup=False, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._policy = policy  # where it is, in words
        self._watchdog_s = watchdog_s
        self._stopped_at_s: float | None = None
        self._under_way = False
        self._fault: Fault | None = None  # the first since the car drove well
        self._unseen, self._run = False, 0  # what was said last; ticks in a row that say otherwise
        self._policy_id: str | None = None  # whose the last answer was

    def say(self, sentence: str) -> None:
        self._console.print(sentence)

    def show(self, entry: Entry) -> None:
        """Tell what this tick has changed."""
        self._announce(entry)
        if entry.policy_id is not None:
            self._announce_policy(entry.policy_id)
        if entry.novelty is not None:
            self._announce_novelty(entry.t_s, entry.novelty)
        self._live.update(Text(_line(entry)), refresh=entry.tick % REFRESH_TICKS == 0)

    def conclude(self, summary: DriveSummary, where: str) -> None:
        """Close with the figures of the drive."""
        self._live.stop()
        ending = "the whole route" if summary.succeeded else summary.disengagement or "ended before the route"
        round_trip = f"round trip {summary.round_trip_p50_ms or 0:.1f} ms median"
        self.say(
            f"drove {summary.distance_m:.1f} m in {summary.minutes:.1f} min, "
            f"{summary.disengagements} disengagements ({ending}); "
            f"{round_trip}, {summary.missed_deadlines} deadlines missed, {summary.stops} stops; see {where}"
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _announce(self, entry: Entry) -> None:
        if entry.fault and not self._fault:
            self._fault = entry.fault
        if entry.safety in STOPPED and self._under_way and self._stopped_at_s is None:
            self._stopped_at_s = entry.t_s
            self.say(f"{self._why(entry)}: stopping")
        if entry.safety == "driving":
            if self._stopped_at_s is not None:
                self.say(f"driving on after {entry.t_s - self._stopped_at_s:.1f} s")
            self._stopped_at_s, self._under_way, self._fault = None, True, None

    def _why(self, entry: Entry) -> str:
        """Who has done what, that the car must stop."""
        fault = entry.fault or self._fault
        if fault is None:
            return "emergency stop" if entry.safety == "e_stop" else "asked to stop"
        if fault.kind in ("camera", "hands", "log"):
            return f"{fault.kind}: {fault.detail}"
        for_how_long = f" for {self._watchdog_s * 1e3:.0f} ms" if fault.passing else ""
        return f"{self._policy} {fault.detail}{for_how_long}"

    def _announce_policy(self, policy_id: str) -> None:
        if self._policy_id not in (None, policy_id):
            self.say(f"policy {policy_id} drives from here on: the server went over to it")
        self._policy_id = policy_id

    def _announce_novelty(self, t_s: float, novelty: float) -> None:
        otherwise = (novelty > UNSEEN) != self._unseen
        self._run = self._run + 1 if otherwise else 0
        if self._run == UNSEEN_TICKS:
            self._unseen, self._run = not self._unseen, 0
            if self._unseen:
                self.say(f"warning: I have not seen this: novelty {novelty:.1f} after {t_s:.1f} s; mind the car")
            else:
                self.say(f"familiar again after {t_s:.1f} s")


def _line(entry: Entry) -> str:
    metres = f"{entry.truth.distance_m:6.1f} m  " if entry.truth else ""
    round_trip = "no answer" if entry.round_trip_ms is None else f"{entry.round_trip_ms:5.1f} ms"
    speed_kmh = entry.speed_mps * 3.6
    return f"{entry.safety:10}{entry.t_s:6.1f} s  {metres}{speed_kmh:4.1f} km/h  round trip {round_trip}"
