"""`lapwing train --encoder none`: any Gymnasium environment, in one process that acts and learns by turns.

(`lapwing train --sync`, the lane by turns, is `agent/training/jobs.py: in_turns`.)
"""
