"""How fast the learner is, against its peers and against the machine itself.

    python -m benchmarks.learner [--json]

Counts updates per second, replay sampling included, of our algorithms and of stable-baselines3's in this process and of
SBX's (JAX) in one of its own; observation 36, action 2, networks 256×256, batches of 256 and 64, on one thread and on
two. Everything runs by turns, so that a busy machine slows all alike; the figures are medians of the rounds, the ratios
medians of each round's ratio. Ours is measured on the plain path, which starts at once, and compiled, in float32 and in
bfloat16; figures that do not say which are of the fast path: compiled, in bfloat16 where the processor has it. The
limit is the time of a TD3 update's matrix products alone, each measured at its own shape and in the same precision.
Needs the `bench` extra and a C++ compiler; takes some ten minutes, most of them for compiling.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import stable_baselines3
import torch
import tyro
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.logger import Logger
from torch import Tensor

from agent.algorithms import ALGORITHMS, CONFIGS
from agent.compiled import Compiled
from agent.replay.prioritized import PrioritizedReplay
from agent.replay.uniform import Batch, Replay
from agent.update import Precision, products_in

OBS, ACTION, HIDDEN = 36, 2, (256, 256)
FILLED = 50_000  # transitions in every replay buffer that is learned from
LARGE = 1_000_000  # transitions in the replay whose sampling is timed by itself
PEERS = ("td3", "ddpg")  # algorithms that they have
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
FAST: Precision = "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"  # pyright: ignore[reportPrivateUsage]
OURS, THEIRS = "medium", "highest"  # precision of products in float32: ours as the learner sets it, theirs torch's own

Seconds = Callable[[int], float]  # how long so many updates took

SBX = """
import sys, time
import gymnasium, numpy, sbx, stable_baselines3.common.logger as logger
class Env(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (36,)); action_space = gymnasium.spaces.Box(-1, 1, (2,))
    def reset(self, **_): return numpy.zeros(36, "f4"), {}
models = {}
for line in sys.stdin:
    name, batch, updates = line.split()
    if name not in models:
        kwargs = dict(net_arch=[256, 256])
        model = models[name] = getattr(sbx, name)("MlpPolicy", Env(), buffer_size=50_000, policy_kwargs=kwargs)
        model.set_logger(logger.Logger(None, []))
        rng, buffer = numpy.random.default_rng(0), model.replay_buffer
        for column in (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards):
            column[:] = rng.uniform(-1, 1, column.shape)
        buffer.full = True
    start = time.perf_counter()
    models[name].train(int(updates), int(batch))
    print(time.perf_counter() - start, flush=True)
"""


@dataclass(frozen=True)
class Config:
    """Measure the learner against its peers and the machine."""

    json: bool = False  # print one JSON object as the last line
    rounds: int = 9  # that everything is measured; the median counts
    updates: int = 48  # of an algorithm in a round


class Still(gymnasium.Env):
    """Spaces and nothing else: what stable-baselines3 needs to build its networks."""

    observation_space = gymnasium.spaces.Box(-1, 1, (OBS,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (ACTION,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        return np.zeros(OBS, np.float32), {}


def fill(replay: Replay, transitions: int) -> Replay:
    """Put random transitions into the replay."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(transitions // 10_000):
        columns = [torch.rand(10_000, width, generator=generator) * 2 - 1 for width in (OBS, ACTION, 1, OBS)]
        obs, action, reward, next_obs = columns
        replay.add(Batch(obs, action, reward[:, 0], torch.full((10_000,), 0.99), next_obs))
    return replay


def make(name: str) -> tuple[Any, Replay]:
    """One of our algorithms with the networks that its peers have, and the replay that it is meant for."""
    config = replace(resolve_name(CONFIGS[name])(), hidden=HIDDEN)
    if name == "ddpg":
        config = replace(config, actor_norm="none", critic_norm="none", max_grad_norm=None)
    torch.manual_seed(0)
    kind = PrioritizedReplay if name == "d4pg" else Replay
    replay = fill(kind(FILLED, OBS, ACTION, torch.Generator().manual_seed(0)), FILLED)
    return resolve_name(ALGORITHMS[name])(config, OBS, ACTION), replay


def plain(name: str, batch_size: int, precision: Precision) -> Seconds:
    """One of our algorithms by its plain path."""
    algorithm, replay = make(name)

    def seconds(updates: int) -> float:
        torch.set_float32_matmul_precision(OURS)
        start = time.perf_counter()
        for _ in range(updates):
            sample = replay.sample(batch_size)
            with products_in(precision):
                scalars = algorithm.update(sample)
            replay.reprioritise(sample.rows, scalars["priority"])
        return time.perf_counter() - start

    return seconds


def compiled(name: str, batch_size: int, precision: Precision) -> Seconds:
    """The same, compiled."""
    algorithm, replay = make(name)
    fast = Compiled(algorithm, precision, tell=lambda _: None)

    def seconds(updates: int) -> float:
        torch.set_float32_matmul_precision(OURS)
        start = time.perf_counter()
        for _ in range(updates // fast.at_once):
            samples = [replay.sample(batch_size) for _ in range(fast.at_once)]
            for sample, scalars in zip(samples, fast.update(samples), strict=True):
                replay.reprioritise(sample.rows, scalars["priority"])
        return time.perf_counter() - start

    return seconds


def sb3(name: str, batch_size: int) -> Seconds:
    """The same algorithm of stable-baselines3, by its own `train`."""
    kwargs = {"net_arch": list(HIDDEN)}
    model = getattr(stable_baselines3, name.upper())("MlpPolicy", Still(), buffer_size=FILLED, policy_kwargs=kwargs)
    model.set_logger(Logger(None, []))
    rng, buffer = np.random.default_rng(0), model.replay_buffer
    for column in (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards):
        column[:] = rng.uniform(-1, 1, column.shape)
    buffer.full = True

    def seconds(updates: int) -> float:
        torch.set_float32_matmul_precision(THEIRS)
        start = time.perf_counter()
        model.train(updates, batch_size)
        return time.perf_counter() - start

    return seconds


@contextmanager
def sbx(threads: int) -> Iterator[Callable[[str, int], Seconds] | None]:
    """SBX in a process of its own, held to as many cores; None where it is not installed."""
    if find_spec("sbx") is None:
        print("SBX is not installed, so its figures are null; `make bench` installs it", file=sys.stderr)  # noqa: T201
        yield None
        return
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
    command, pipe = ["taskset", "-c", cores, sys.executable, "-c", SBX], subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        wire_in, wire_out = process.stdin, process.stdout

        def of(name: str, batch_size: int) -> Seconds:
            def seconds(updates: int) -> float:
                wire_in.write(f"{name} {batch_size} {updates}\n")
                wire_in.flush()
                return float(wire_out.readline())

            return seconds

        yield of
        wire_in.close()


def td3_products(batch_size: int, dtype: torch.dtype) -> list[tuple[float, Callable[[], Tensor]]]:
    """The matrix products of one TD3 update, as (times per update, what to time), each in its own shape.

    Critic: forward of two targets and two critics, weight gradients of both, input gradients but of the first layer.
    Every second time the actor: two forwards, the input gradients of Q_1 down to the action, and its own backward.
    The target actor goes forward each time. Products with the one output of a critic are left out.
    """
    width = HIDDEN[0]
    randn = partial(torch.randn, dtype=dtype)
    x, g, w = randn(2, batch_size, width), randn(2, batch_size, width), randn(2, width, width)
    first, w_in = randn(2, batch_size, OBS + ACTION), randn(2, OBS + ACTION, width)
    return [
        (2.0, lambda: torch.bmm(x, w)),
        (2.0, lambda: torch.bmm(first, w_in)),
        (1.0, lambda: torch.bmm(x.mT, g)),
        (1.0, lambda: torch.bmm(g, w.mT)),
        (1.0, lambda: torch.bmm(first.mT, g)),
        (1 + 2 / 2, lambda: torch.mm(x[0], w[0])),
        (1 + 2 / 2, lambda: torch.mm(first[0], w_in[0])),
        (1 / 2, lambda: torch.mm(x[0].T, g[0])),
        (2 / 2, lambda: torch.mm(g[0], w[0].T)),
        (1 / 2, lambda: torch.mm(first[0].T, g[0])),
    ]


def gemm_limit(batch_size: int, precision: Precision) -> Seconds:
    """The seconds that so many TD3 updates would take if nothing but their matrix products took any."""
    products = td3_products(batch_size, getattr(torch, precision))

    def seconds(updates: int) -> float:
        torch.set_float32_matmul_precision(OURS)
        total = 0.0
        for times, product in products:
            start = time.perf_counter()
            for _ in range(updates // 2):
                product()
            total += times * (time.perf_counter() - start) / (updates // 2)
        return total * updates

    return seconds


def rates(contenders: dict[str, Seconds], config: Config) -> dict[str, np.ndarray]:
    """Updates per second of everybody in every round, (rounds,); all have warmed up before."""
    for seconds in contenders.values():
        seconds(config.updates)
    rounds = [
        {name: config.updates / run(config.updates) for name, run in contenders.items()} for _ in range(config.rounds)
    ]
    return {name: np.array([found[name] for found in rounds]) for name in contenders}


class Ours(NamedTuple):
    """A way to learn of ours."""

    algorithm: str
    path: str  # plain or compiled
    precision: Precision


def measured(thorough: bool) -> list[Ours]:
    """All of ours if thorough, else those that peers have, as compiling takes long."""
    ours = [Ours(name, "plain", precision) for precision in PRECISIONS for name in ALGORITHMS]
    ours += [Ours("td3", "compiled", precision) for precision in PRECISIONS if thorough or precision == FAST]
    return ours + [Ours(name, "compiled", FAST) for name in (ALGORITHMS if thorough else PEERS) if name != "td3"]


def compare(batch_size: int, threads: int, config: Config) -> dict[str, float | str | None]:
    """Updates per second of all, and how many times as fast as its peer each of ours is."""
    torch.compiler.reset()  # graphs of earlier comparisons would be looked through at every call
    torch.set_num_threads(threads)
    with sbx(threads) as theirs:
        contenders = {f"gemm_limit_{precision}": gemm_limit(batch_size, precision) for precision in PRECISIONS}
        for name, path, precision in measured(thorough=(batch_size, threads) == (256, 1)):
            make_path = plain if path == "plain" else compiled
            contenders[f"{name}_{path}_{precision}"] = make_path(name, batch_size, precision)
        contenders |= {f"sb3_{name}": sb3(name, batch_size) for name in PEERS}
        contenders |= {f"sbx_{name}": theirs(name.upper(), batch_size) for name in PEERS} if theirs else {}
        return summary(rates(contenders, config))


def summary(found: dict[str, np.ndarray]) -> dict[str, float | str | None]:
    """Medians over the rounds of every rate in `found`, (rounds,), and of the ratios between them."""

    def ratio(ours: str, peer: str) -> float | None:
        return float(np.median(found[ours] / found[peer])) if ours in found and peer in found else None

    fast = {name: f"{name}_compiled_{FAST}" for name in ALGORITHMS if f"{name}_compiled_{FAST}" in found}
    said: dict[str, float | str | None] = {"fast_precision": FAST}
    said |= {f"{name}_updates_per_s": float(np.median(found[path])) for name, path in fast.items()}
    for peer, name in itertools.product(("sb3", "sbx"), PEERS):
        said[f"x_{peer}_{name}"] = ratio(fast[name], f"{peer}_{name}")
    said["fraction_of_gemm_limit"] = ratio(fast["td3"], f"gemm_limit_{FAST}")
    for path, precision in itertools.product(("plain", "compiled"), PRECISIONS):
        each = f"{path}_{precision}"
        said[f"x_sb3_td3_{each}"] = ratio(f"td3_{each}", "sb3_td3")
        said[f"fraction_of_gemm_limit_{each}"] = ratio(f"td3_{each}", f"gemm_limit_{precision}")
    return said | {f"{name}_updates_per_s": float(np.median(rate)) for name, rate in found.items()}


def replay_times(config: Config) -> dict[str, float | str | None]:
    """Microseconds to sample 256 of a million transitions, and to give them new priorities where they have any."""
    torch.set_num_threads(1)
    found: dict[str, float | str | None] = {}
    for name, kind in (("uniform", Replay), ("prioritized", PrioritizedReplay)):
        replay = fill(kind(LARGE, OBS, ACTION, torch.Generator().manual_seed(0)), LARGE)
        errors, times = torch.rand(256), []
        for _ in range(config.rounds):
            start = time.perf_counter()
            for _ in range(200):
                replay.reprioritise(replay.sample(256).rows, errors)
            times.append((time.perf_counter() - start) / 200 * 1e6)
        found[f"replay_{name}_us"] = float(np.median(times))
    return found


def show(found: dict[str, float | str | None], console: Console) -> None:
    """Print what was found as a table."""
    table = Table("figure", "measured", title=f"Learner: observation {OBS}, action {ACTION}, networks 256×256")
    for name, value in found.items():
        table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else str(value or "not measured"))
    console.print(table)


def main(config: Config) -> None:
    """Measure and print; the names without an ending are of batch 256 on one thread."""
    found = compare(256, 1, config) | replay_times(config)
    for batch_size, threads in ((256, 2), (64, 1), (64, 2)):
        more = compare(batch_size, threads, config)
        found |= {f"{name}_batch{batch_size}_threads{threads}": value for name, value in more.items()}
    show(found, Console())
    if config.json:
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}
        print(json.dumps(rounded))  # noqa: T201


if __name__ == "__main__":
    main(tyro.cli(Config))
