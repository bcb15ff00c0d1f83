"""The actors of a run: the cars they drive, what they are told, and `lapwing act` on another machine."""
