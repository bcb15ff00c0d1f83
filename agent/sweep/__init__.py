"""`lapwing sweep`: training with every combination of settings and seeds, and what came of each."""
