"""The policy server: who is listened to, what is answered, and how another policy takes over under way."""
