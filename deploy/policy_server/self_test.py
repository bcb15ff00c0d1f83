"""Is a policy fit to drive? Asked when a server starts, and before a policy takes the place of another."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.policy import ONNX_FAILURES, OnnxPolicy
from deploy.policy_spec import PolicyError, PolicySpec

WARM_UP_CALLS = 20
RANDOM_FRAMES = 16
OVERSHOOT = 1e-4  # what rounding may add to a saturated tanh

Sight = tuple[NDArray[np.uint8], NDArray[np.float32]]  # image and state, as a policy is given them


def first_policy(path: Path, tell: Callable[[str], None]) -> OnnxPolicy:
    """The policy to begin with. What it is unfit for is told, and no such answer counts. Raises PolicyError."""
    policy = OnnxPolicy.load(path)
    warm_up(policy)
    try:
        self_test(policy)
    except PolicyError as error:
        tell(f"WARNING: {error}")
    return policy


def warm_up(policy: OnnxPolicy) -> None:
    """Run the policy on nothing, so that the first frame is answered as fast as all others."""
    image, state = _black(policy.spec)
    for _ in range(WARM_UP_CALLS):
        policy(image, state)


def action_of(answer: NDArray[np.float32]) -> tuple[float, float] | None:
    """Steering and speed set-point in [-1, 1]; None if the policy's answer (2,) is not finite or out of range."""
    if not all(abs(number) <= 1 + OVERSHOOT for number in answer.tolist()):  # NaN is not
        return None
    steering, speed = (max(-1.0, min(number, 1.0)) for number in answer.tolist())
    return steering, speed


def self_test(policy: OnnxPolicy, seen: Iterable[Sight] = ()) -> None:
    """Raise PolicyError unless the policy has an action for black, random and these frames, which were really seen."""
    for kind, (image, state) in _frames(policy.spec, seen):
        try:
            action = policy(image, state)
        except ONNX_FAILURES as error:
            raise PolicyError(f"policy {policy.id} fails on a {kind} frame: {str(error).splitlines()[0]}") from error
        if action_of(action) is None:
            raise PolicyError(f"policy {policy.id} answers {action.tolist()} to a {kind} frame, expected [-1, 1]")


def _frames(spec: PolicySpec, seen: Iterable[Sight]) -> Iterator[tuple[str, Sight]]:
    yield "black", _black(spec)
    generator = np.random.default_rng(0)
    for _ in range(RANDOM_FRAMES):
        image = generator.integers(0, 256, (spec.image_height, spec.image_width, 3), np.uint8)
        yield "random", (image, generator.uniform(-1, 1, spec.state_size).astype(np.float32))
    for sight in seen:
        yield "real", sight


def _black(spec: PolicySpec) -> Sight:
    return np.zeros((spec.image_height, spec.image_width, 3), np.uint8), np.zeros(spec.state_size, np.float32)
