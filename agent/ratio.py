"""How much the learner learns from how much driving: the bound that both sides keep to."""

from dataclasses import dataclass

from agent.settings import NotNegative, Whole


@dataclass(frozen=True)
class Ratio:
    """Updates that are due after so much experience.

    The learner goes on while updates are due, also while cars drive; after an episode a driver waits until at most
    `band` are, as the car in Kendall 2018 learned while its driver put it back (250 updates).
    """

    per_episode: NotNegative = 250.0  # updates for every finished episode; Kendall 2018
    per_step: NotNegative = 1.0  # updates for every transition on top of that
    band: Whole = 0  # updates that the learner may be behind when a driver begins another episode

    def due(self, transitions: int, episodes: int) -> int:
        """Return how many updates all of this experience is worth."""
        return int(self.per_episode * episodes + self.per_step * transitions)
