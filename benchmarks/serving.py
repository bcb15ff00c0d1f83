"""How long a car waits for its action, against in-process inference and other ways to serve a policy.

    python -m benchmarks.serving [--json] [--policy FILE] [--full] [--write]

By turns, in another order every round, so that a busy machine slows all alike: the policy in this process, ours
(`lapwing serve` and `PolicyClient.act`, as a drive has them) plain and with CURVE keys, an echo over raw ZeroMQ, and
the peers of `benchmarks.serving_peers`. All have the same frames, the same ONNX file and session, one thread for it,
tcp on loopback and a process of their own. Whoever asks is a control loop, which runs before everything else on one
core, where that is permitted, as `lapwing serve` does. The figures are medians of the rounds, the ratios medians of
each round's ratio. Every served action must equal the in-process one bit for bit. What is added is a round trip less
the medians of echo and inference of the same round. Then the server of a driving simulated car is killed, see
`benchmarks.serving_kill`. Without `--policy` the policy has random weights; it is as large as a trained one.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import tyro
import zmq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.runs import markdown, write_page
from benchmarks.serving_kill import Outage, free_port, outages
from benchmarks.serving_peers import PEERS
from deploy.client import PolicyClient
from deploy.clock import no_collections
from deploy.keys import ClientKeys, KeysConfig, write_keys
from deploy.policy import OnnxPolicy
from deploy.realtime import pinned, realtime, sockets_too
from deploy.signals import interruptible

FRAMES = 64  # that are asked for in turn
WARM = 10  # calls at the start of a turn that do not count
LONGEST_S = 1.0  # until the same frame is asked for again: on a very busy machine the connection may be lost
ATTEMPTS = 5
PAGE = Path("docs/serving.md")
SLOWER = ("openpi", "groot", "grpc")
TITLES = {
    "infer": "in this process",
    "echo": "raw ZeroMQ echo, no policy",
    "round_trip": "lapwing serve",
    "round_trip_curve": "lapwing serve --keys",
    "openpi": "openpi's websockets",
    "groot": "GR00T's REQ/REP",
    "grpc": "gRPC, unary",
}

Frame = tuple[NDArray[np.uint8], NDArray[np.float32]]  # image, state
Ask = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
Rounds = dict[str, list[NDArray[np.float64]]]  # of each way to ask, µs of every call, round by round


@dataclass(frozen=True)
class Config:
    """Measure what serving a policy costs."""

    json: bool = False  # print one JSON object as the last line
    policy: Path | None = None  # ONNX file, as written by `lapwing export`; None = random weights
    rounds: int = 30  # that everything is measured; the median counts
    calls: int = 100  # of each way to ask, in a round
    kills: int = 5  # of the server of a driving car
    write: bool = False  # put the table into docs/serving.md
    full: bool = False  # ten times as many rounds, four times as many kills


class ServedWrong(AssertionError):
    """A served action is not the one that the policy gives in this process."""


def build_policy(folder: Path) -> Path:
    """A policy with random weights, of the size that `lapwing demo` trains."""
    import torch

    from agent.checkpoint import make_actor, save_actor
    from agent.export.export import ExportConfig, export
    from agent.training.config import TrainConfig
    from agent.training.train import gather_facts
    from perception.encoders import save_encoder
    from perception.encoders.vae import VAE, VAEConfig

    torch.manual_seed(0)
    save_encoder(folder / "vae.safetensors", VAE(VAEConfig()))
    facts = gather_facts(TrainConfig(encoder=folder / "vae.safetensors", out=folder))
    save_actor(folder / "actor.safetensors", make_actor(facts), facts)
    export(ExportConfig(folder, folder / "policy.onnx"), Console(quiet=True))
    return folder / "policy.onnx"


class Ours:
    """A `PolicyClient` that asks as the control loop does."""

    def __init__(self, port: int, keys: ClientKeys | None = None) -> None:
        self._context = zmq.Context()
        sockets_too(self._context)
        self._client = PolicyClient(self._context, f"tcp://127.0.0.1:{port}", keys=keys)
        self._client.hello(10.0)
        self._seq = 0

    def ask(self, image: NDArray[np.uint8], state: NDArray[np.float32]) -> NDArray[np.float32]:
        for _ in range(ATTEMPTS):
            self._seq += 1
            now_s = time.monotonic()
            if answer := self._client.act(self._seq, image, state, now_s, now_s + LONGEST_S):
                return np.array(answer.action, np.float32)
        raise ServedWrong(f"no action within {ATTEMPTS * LONGEST_S:g} s: {self._client.fault}")

    def close(self) -> None:
        self._client.close()
        self._context.term()


@contextmanager
def server(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, on one thread, that serves while this block lasts."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def port_of(process: subprocess.Popen[str]) -> int:
    """The port on loopback that a server says when it is ready."""
    assert process.stdout
    for line in process.stdout:
        if found := re.search(r"serving .*tcp://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise ServedWrong(f"{process.args} ended before it served")


@contextmanager
def serving(path: Path, folder: Path) -> Iterator[dict[str, Ask]]:
    """All ways to ask that policy, each with its server ready; the folder is for keys."""
    write_keys(KeysConfig(folder / "keys", ("car",)), Console(quiet=True))
    keys = ClientKeys.load(folder / "keys/clients/car")
    serve = ("lapwing", "serve", "--policy", str(path), "--bind", "tcp://127.0.0.1:0")
    with ExitStack() as stack:
        started = {name: stack.enter_context(server("benchmarks.serving_peers", name, str(path))) for name in PEERS}
        for way, more in {"ours": (), "curve": ("--keys", str(folder / "keys/server"))}.items():
            started[way] = stack.enter_context(server(*serve, *more, "--metrics-port", str(free_port())))
        stack.enter_context(realtime())
        ports = {name: port_of(process) for name, process in started.items()}
        clients = {name: peer.client(ports[name]) for name, peer in PEERS.items()}
        clients |= {"ours": Ours(ports["ours"]), "curve": Ours(ports["curve"], keys)}
        yield {name: stack.enter_context(closing(client)).ask for name, client in clients.items()}


def measure(asks: dict[str, Ask], policy: OnnxPolicy, config: Config, rng: random.Random) -> Rounds:
    """Ask in all ways by turns, in another order every round. Raises ServedWrong."""
    frames = seen(policy)
    expected = [policy(*frame) for frame in frames]
    asks = {"infer": policy, **asks}
    took: Rounds = {name: [] for name in asks}
    with no_collections(), pinned():
        for _ in range(config.rounds):
            for name in rng.sample(list(asks), len(asks)):
                took[name].append(turn(name, asks[name], frames, expected, config.calls))
    return took


def seen(policy: OnnxPolicy) -> list[Frame]:
    """Random images and states; how long the policy takes does not depend on what it sees."""
    rng, spec = np.random.default_rng(0), policy.spec
    images = rng.integers(0, 256, (FRAMES, spec.image_height, spec.image_width, 3), np.uint8)
    return list(zip(images, rng.uniform(-1, 1, (FRAMES, spec.state_size)).astype(np.float32), strict=True))


def turn(
    name: str, ask: Ask, frames: list[Frame], expected: list[NDArray[np.float32]], calls: int
) -> NDArray[np.float64]:
    """Ask so many times; return how long each took, µs. Raises ServedWrong unless all actions are as expected."""
    took_us = np.zeros(calls)
    for i in range(-WARM, calls):
        image, state = frames[i % len(frames)]
        began_s = time.perf_counter()
        action = ask(image, state)
        if i >= 0:
            took_us[i] = (time.perf_counter() - began_s) * 1e6
        if name != "echo" and action.tobytes() != expected[i % len(frames)].tobytes():
            raise ServedWrong(f"{name} answered {action}, expected {expected[i % len(frames)]}")
    return took_us


def figures(took: Rounds) -> dict[str, float]:
    """What the rounds come to: times in µs, ratios to ours."""
    p50 = {name: np.median(rounds, axis=1) for name, rounds in took.items()}
    without_us = p50["echo"] + p50["infer"]
    added = {name: [us - base for us, base in zip(took[name], without_us, strict=True)] for name in ("ours", "curve")}
    found = {
        "infer_p50_us": np.median(p50["infer"]),
        "infer_p99_us": of_rounds(took["infer"], 99),
        "echo_p50_us": np.median(p50["echo"]),
        "echo_p99_us": of_rounds(took["echo"], 99),
        "round_trip_p50_us": np.median(p50["ours"]),
        "round_trip_p99_us": of_rounds(took["ours"], 99),
        "round_trip_curve_p50_us": np.median(p50["curve"]),
        "round_trip_curve_p99_us": of_rounds(took["curve"], 99),
        "added_p50_us": of_rounds(added["ours"], 50),
        "added_p99_us": of_rounds(added["ours"], 99),
        "added_curve_p50_us": of_rounds(added["curve"], 50),
        "added_curve_p99_us": of_rounds(added["curve"], 99),
        "times_infer": np.median(p50["ours"] / p50["infer"]),
    }
    for name in SLOWER:
        found[f"{name}_p50_us"] = np.median(p50[name])
        found[f"{name}_p99_us"] = of_rounds(took[name], 99)
        found[f"x_{name}"] = np.median(p50[name] / p50["ours"])
    return {name: round(float(value), 1 if name.endswith("_us") else 2) for name, value in found.items()}


def of_rounds(rounds: list[NDArray[np.float64]], percent: float) -> float:
    """The median of the rounds' percentiles: one round beside a busy neighbour is not the server's doing."""
    return float(np.median(np.percentile(rounds, percent, axis=1)))


def consequences(found: list[Outage]) -> dict[str, float]:
    """What the kills came to, ms: the worst of them, and the median."""
    stop_ms, recover_ms = zip(*found, strict=True)
    return {
        "stop_after_kill_ms": round(max(stop_ms), 1),
        "stop_after_kill_median_ms": round(median(stop_ms), 1),
        "recover_after_kill_ms": round(max(recover_ms), 1),
        "recover_after_kill_median_ms": round(median(recover_ms), 1),
        "kills": len(found),
    }


def table(found: dict[str, float]) -> Table:
    shown = Table("from frame to action", "p50, µs", "p99, µs", "p50, times ours")
    for name, title in TITLES.items():
        p50, p99, times = (found.get(key.format(name)) for key in ("{}_p50_us", "{}_p99_us", "x_{}"))
        shown.add_row(title, *("" if value is None else f"{value:g}" for value in (p50, p99, times)))
    return shown


def told(found: dict[str, float]) -> str:
    return (
        f"Over raw echo and inference, serving adds {found['added_p50_us']:g} µs at the median and "
        f"{found['added_p99_us']:g} at p99; with CURVE {found['added_curve_p50_us']:g} and "
        f"{found['added_curve_p99_us']:g}. The round trip is {found['times_infer']:g} times in-process inference. Of "
        f"{found['kills']:g} kills the worst had the car told to stop after {found['stop_after_kill_ms']:g} ms, and "
        f"answered well again after {found['recover_after_kill_ms']:g} ms "
        f"(medians {found['stop_after_kill_median_ms']:g} and {found['recover_after_kill_median_ms']:g})."
    )


def main(config: Config) -> None:
    if config.full:
        config = replace(config, rounds=10 * config.rounds, kills=4 * config.kills)
    rng, console = random.Random(0), Console()
    with interruptible(), tempfile.TemporaryDirectory(prefix="lapwing-") as name:
        folder = Path(name)
        path = config.policy or build_policy(folder)
        with serving(path, folder) as asks:
            found = figures(measure(asks, OnnxPolicy.load(path), config, rng))
        found |= consequences(outages(path, config.kills, rng))
    console.print(table(found), told(found))
    if config.write:
        write_page(PAGE, "benchmarks.serving", f"{markdown(table(found))}\n\n{told(found)}")
    if config.json:
        console.out(json.dumps(found), highlight=False)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
