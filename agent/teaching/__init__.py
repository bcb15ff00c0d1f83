"""`lapwing teach`: a car learns on its own road while a safety driver watches."""
