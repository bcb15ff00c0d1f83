"""The learning algorithms, one file each: the class, and the dataclass of its settings."""

ALGORITHMS = {
    "ddpg": "agent.algorithms.ddpg:DDPG",
    "td3": "agent.algorithms.td3:TD3",
    "d4pg": "agent.algorithms.d4pg:D4PG",
}
CONFIGS = {
    "ddpg": "agent.algorithms.ddpg:DDPGConfig",
    "td3": "agent.algorithms.td3:TD3Config",
    "d4pg": "agent.algorithms.d4pg:D4PGConfig",
}
