"""Whether a less exact policy answers and drives as the original does: what is measured, and what is refused."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from math import comb
from typing import NamedTuple

import gymnasium
import msgspec
import numpy as np
from jaxtyping import Float

from agent.checkpoint import PolicyFacts
from agent.export.export import Variant
from agent.export.precision import Moments
from agent.latent import LatentState
from agent.noise import OrnsteinUhlenbeck, OrnsteinUhlenbeckConfig
from agent.results.evaluate import Policy, Row, drive_roads
from deploy.observation import STANDING
from deploy.policy import TOLD, OnnxPolicy
from perception.sight import Pixels

EVERY = 5  # control periods from one frame that is kept to the next
LAPS = 300  # frames by which the time of inference is measured
MEAN_ERROR, P99_ERROR = 0.02, 0.1  # of steering and of speed, at most, of a range from -1 to 1
DISAGREEMENT = 0.02  # of frames, at most, of which only one of the two says that they are unfamiliar
SIGNIFICANCE = 0.05  # chance below which disengagements are blamed on the variant
SHORTFALL = 0.05  # by how much less road, or more slowly, a variant may drive


class Errors(msgspec.Struct, frozen=True):
    """How far answers are from the original's, absolutely; null in JSON where that is infinitely far."""

    mean: float
    p99: float
    max: float


class Drove(msgspec.Struct, frozen=True):
    """What came of driving the roads."""

    distance_m: float
    disengagements: int
    meters_per_disengagement: float | None  # None where there was no disengagement
    mean_speed_mps: float
    steering_change: float | None  # mean |Δ steering| from one control period to the next, 1 = full lock


class Told(NamedTuple):
    """Answers to n moments."""

    action: np.ndarray  # (n, 2)
    novelty: np.ndarray | None  # (n,)
    value: np.ndarray | None  # (n,)


class Measured(msgspec.Struct, frozen=True):
    """A policy by itself."""

    id: str
    kilobytes: float  # of 1000 bytes
    infer_p50_us: float
    drove: Drove


class Compared(msgspec.Struct, frozen=True):
    """A variant beside its original."""

    precision: Variant
    measured: Measured
    steering: Errors  # 1 = full lock
    speed: Errors  # of the set-point, whose range from -1 to 1 is from standing to top speed
    novelty: Errors | None
    value: Errors | None  # m
    disagreement: float | None  # part of the frames of which only one of the two has a novelty above 1
    time_ratio: float  # of inference, to the original
    chance: float  # of at least so many of all disengagements, were the two as good
    refused: tuple[str, ...] = ()  # why it was not written


def moments(facts: PolicyFacts, policy: OnnxPolicy, roads: str, count: int, seed: int) -> Moments:
    """What the policy sees that drives such roads ("held_in", "held_out") with noise, so that it sees mishaps too."""
    world = gymnasium.make(facts.env, scenario=facts.scenario, roads=roads, length_m=facts.length_m)
    with closing(LatentState(world, Pixels())) as env:
        seen = islice(wandering(env, policy, np.random.default_rng(seed)), 0, count * EVERY, EVERY)
        images, states = zip(*seen, strict=True)
    return Moments(np.stack(images), np.stack(states))


def wandering(
    env: LatentState, policy: OnnxPolicy, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image and state of every control period of a drive without end."""
    noise = OrnsteinUhlenbeck(OrnsteinUhlenbeckConfig(), len(env.action_space.sample()), rng)
    while True:
        obs, _ = env.reset(seed=int(rng.integers(2**31)))
        noise.reset(0)
        over = False
        while not over:
            image, state = parts(policy, obs)
            yield image, state
            obs, _, terminated, truncated, _ = env.step(np.clip(policy(image, state) + noise(), -1, 1))
            over = terminated or truncated


def parts(policy: OnnxPolicy, obs: Float[np.ndarray, " obs"]) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W, 3) and state float32 (S,) of an observation in which the one follows the other as numbers."""
    spec = policy.spec
    pixels, state = np.split(obs, [len(obs) - spec.state_size])
    return pixels.astype(np.uint8).reshape(spec.image_height, spec.image_width, 3), state


def seeing(policy: OnnxPolicy) -> Policy:
    """The file itself as a driver in simulation; where its action is no number the car is told to stand still."""

    def drive(obs: np.ndarray) -> np.ndarray:
        action = policy(*parts(policy, obs))
        return action if np.isfinite(action).all() else STANDING

    return drive


def measured(facts: PolicyFacts, policy: OnnxPolicy, size: int, infer_us: float, roads: Sequence[int]) -> Measured:
    """Drive the roads with it."""
    row = drive_roads(facts, Pixels(), roads, policy.id, seeing(policy))
    return Measured(policy.id, size / 1000, infer_us, drove(row))


def drove(row: Row) -> Drove:
    """The same without the training."""
    names = ("distance_m", "disengagements", "meters_per_disengagement", "mean_speed_mps", "steering_change")
    return Drove(**{name: getattr(row, name) for name in names})


def answers(policy: OnnxPolicy, given: Moments) -> Told:
    """Of every moment, one at a time as on the car."""
    told = [policy.answer(image, state) for image, state in zip(*given, strict=True)]
    action, novelty, value = (None if column[0] is None else np.array(column) for column in zip(*told, strict=True))
    assert action is not None
    return Told(action, novelty, value)


def infer_us(policies: list[OnnxPolicy], given: Moments) -> list[float]:
    """The median time of an answer of each in µs, by turns, so that a busy machine hurts all alike."""
    times = np.empty((LAPS, len(policies)))
    for lap in range(LAPS):
        image, state = (column[lap % len(column)] for column in given)
        for i, policy in enumerate(policies):
            began = time.perf_counter()
            policy.answer(image, state)
            times[lap, i] = time.perf_counter() - began
    return [float(median) * 1e6 for median in np.median(times, axis=0)]


def compared(precision: Variant, variant: Measured, original: Measured, found: Told, expected: Told) -> Compared:
    """What tells the two apart, and whether the variant is to be refused."""
    novelty, value = (_errors_of(name, found, expected) for name in TOLD)
    made = Compared(
        precision=precision,
        measured=variant,
        steering=errors(found.action[:, 0], expected.action[:, 0]),
        speed=errors(found.action[:, 1], expected.action[:, 1]),
        novelty=novelty,
        value=value,
        disagreement=_disagreement(found.novelty, expected.novelty),
        time_ratio=variant.infer_p50_us / original.infer_p50_us,
        chance=chance(original.drove.disengagements, variant.drove.disengagements),
    )
    return msgspec.structs.replace(made, refused=tuple(objections(made, original.drove)))


def _errors_of(name: str, found: Told, expected: Told) -> Errors | None:
    ours, theirs = getattr(found, name), getattr(expected, name)
    return None if theirs is None else errors(ours, theirs)


def _disagreement(found: np.ndarray | None, expected: np.ndarray | None) -> float | None:
    return None if found is None or expected is None else float(np.mean((found > 1) != (expected > 1)))


def errors(found: np.ndarray, expected: np.ndarray) -> Errors:
    """Of two arrays (n,); what is no number is infinitely far off."""
    off = np.nan_to_num(np.abs(found.astype(np.float64) - expected), nan=np.inf)
    return Errors(float(off.mean()), float(np.quantile(off, 0.99, method="higher")), float(off.max()))


def chance(before: int, after: int) -> float:
    """P(X ≥ after), X ~ Binomial(before + after, ½): on the same roads two that are as good share all disengagements.

    The conditional test of two Poisson rates (Przyborowski & Wilenski 1940, Biometrika 31).
    """
    both = before + after
    return sum(comb(both, k) for k in range(after, both + 1)) / 2**both


def objections(variant: Compared, original: Drove) -> Iterator[str]:
    """Why a variant drives worse than the original; nothing if it does not."""
    for name, error in (("steering", variant.steering), ("speed", variant.speed)):
        if not (error.mean <= MEAN_ERROR and error.p99 <= P99_ERROR):
            yield (
                f"{name} is off by {error.mean:.3f} (p99 {error.p99:.3f}), expected at most {MEAN_ERROR} ({P99_ERROR})"
            )
    if variant.disagreement is not None and not variant.disagreement <= DISAGREEMENT:
        yield f"novelty says otherwise on {variant.disagreement:.1%} of frames, expected at most {DISAGREEMENT:.0%}"
    drove = variant.measured.drove
    if variant.chance < SIGNIFICANCE:
        more = f"{drove.disengagements} disengagements, the original {original.disengagements}"
        yield f"{more}: by chance with p = {variant.chance:.2g}, expected at least {SIGNIFICANCE}"
    for name in ("distance_m", "mean_speed_mps"):
        found, least = getattr(drove, name), (1 - SHORTFALL) * getattr(original, name)
        if not found >= least:
            yield f"{name} is {found:.2f} on the same roads, expected at least {least:.2f}"
