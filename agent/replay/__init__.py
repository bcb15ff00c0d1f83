"""What the learner has lived through: every memory of transitions is a file."""
