"""What a run has come to: the figures it writes, its learning curves, Table I, and the page about it."""
