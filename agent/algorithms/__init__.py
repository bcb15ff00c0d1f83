"""The learning algorithms, one file each."""

ALGORITHMS = {"ddpg": "agent.algorithms.ddpg:DDPG"}
