"""A drive: the control loop, the safety machine between policy and motors, and what a person sees of it."""
