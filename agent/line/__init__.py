"""The line between actors and learner: how experience goes up and weights come down, and where the two meet."""
