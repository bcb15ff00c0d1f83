"""`lapwing train --encoder none`: any Gymnasium environment, in one process that acts and learns by turns."""
