"""How much the learner learns from how much driving: the bound that both sides keep to."""

from dataclasses import dataclass

from agent.settings import NotNegative, Whole


@dataclass(frozen=True)
class Ratio:
    """Updates that are due after so much experience.

    The learner goes on while updates are due, also while cars drive, so it never has fewer transitions to learn from
    than this; after an episode a driver waits until at most `band` are due, so there are never many more. Random
    episodes that a run begins with count as transitions, too.
    """

    per_episode: NotNegative = 250.0  # updates for every finished episode; Kendall 2018
    per_step: NotNegative | None = None  # updates for every transition on top; None = 1, with --sync 0 as Kendall 2018
    band: Whole = 5000  # updates that the learner may be behind when a driver begins another episode

    def due(self, transitions: int, episodes: int) -> int:
        """Return how many updates all of this experience is worth."""
        return int(self.per_episode * episodes + (self.per_step or 0.0) * transitions)
