"""The log of a drive: what is written, how it is read, and how it is driven once more."""
