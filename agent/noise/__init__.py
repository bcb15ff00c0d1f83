"""How an actor explores: the kinds of noise, one file each.

A driver needs two verbs. `begin` says that an episode starts and which actor drives it; `act` turns an observation into
the action to try:

    explorer = load_noise("ou")(config, action_size, rng)
    explorer.begin(actor, episode)
    action = explorer.act(actor, obs)  # (a,) float32 in [-1, 1]

Noise on the action (`gaussian`, `ou`) adds to μ(s); noise on the weights (`parameter`) drives with a perturbed copy of
the actor. The actor itself is never touched, so an evaluation is `greedy(actor, obs)`, whatever explored before.
`RandomStart` puts uniform steps before any of them. `Turns` is of many actors, whose strengths `ladder` spreads, and
`between` where nobody knows how many there are.
All randomness comes from `rng`; `state()` between two episodes is JSON-ready and holds it.
"""

from pkgutil import resolve_name

from agent.noise.explorer import Explorer, NoiseError, greedy
from agent.noise.ornstein_uhlenbeck import OrnsteinUhlenbeck, OrnsteinUhlenbeckConfig
from agent.noise.random_start import RandomStart
from agent.noise.turns import Turns, between, ladder

__all__ = [
    "CONFIGS",
    "NOISES",
    "Explorer",
    "NoiseError",
    "OrnsteinUhlenbeck",
    "OrnsteinUhlenbeckConfig",
    "RandomStart",
    "Turns",
    "between",
    "greedy",
    "ladder",
    "load_noise",
]

NOISES = {
    "none": "agent.noise.none:NoNoise",
    "gaussian": "agent.noise.gaussian:Gaussian",
    "ou": "agent.noise.ornstein_uhlenbeck:OrnsteinUhlenbeck",
    "parameter": "agent.noise.parameter:ParameterNoise",
}
CONFIGS = {name: f"{target}Config" for name, target in NOISES.items()}


def load_noise(name: str) -> type:
    """Return the explorer of that name; NoiseError when NOISES has none."""
    if name not in NOISES:
        raise NoiseError(f"noise is {name!r}; expected one of {', '.join(NOISES)}")
    return resolve_name(NOISES[name])
