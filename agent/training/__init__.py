"""`lapwing train`: the learner of a run, its actors' processes, and the course that a run takes."""
