"""How fast an encoder is pretrained, against the loop that one writes first.

    python -m benchmarks.perception [--json]

By turns in one process, in another order every round, so that a busy machine slows both alike; the figures are medians
of the rounds. Ours: `perception.pretrain.Trainer`, images channels last, bfloat16 where the hardware has it, one call
of Adam for all weights, no row of sky. The naive loop: the whole image, float32, channels first, transposed
convolutions, and no warps of the frames, which ours makes besides. An epoch is as many steps as show 10,000 images.
Also told: the loss that is reached in float32 and in bfloat16.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from perception import objective
from perception.frames import drive_frames
from perception.pretrain import PretrainConfig, Trainer

EPOCH = 10_000  # frames
ENV = "sim:LaneFollowing-v0"


@dataclass(frozen=True)
class Config:
    """Measure pretraining."""

    json: bool = False  # print one JSON object as the last line
    rounds: int = 9  # that both are measured; the median counts
    steps: int = 40  # of a round, from which the epoch is worked out
    threads: int = 1  # CPU threads of both; two that share busy cores wait for each other
    loss_steps: int = 300  # that are made in float32 and in bfloat16, whose losses are compared


class Naive(nn.Module):
    """The usual VAE of 64×64 images, as large as ours."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            *(nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64 * 4 * 4, 64)),
        )
        self.up = nn.Sequential(
            *(nn.Linear(32, 64 * 4 * 4), nn.Unflatten(1, (64, 4, 4)), nn.ReLU()),
            *(nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU()),
            *(nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1)),
        )

    def loss(self, images: Tensor) -> Tensor:
        """images (b, 3, h, w) float32 → the negative evidence lower bound."""
        mu, logvar = self.down(images).chunk(2, dim=1)
        painted = self.up(mu + (logvar / 2).exp() * torch.randn_like(mu))
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum()
        return ((painted - images).square().sum() + 0.1 * kl) / len(images)


def naive(images: Tensor, config: PretrainConfig) -> Callable[[], None]:
    """A step of the loop that one writes first."""
    pixels = (images.permute(0, 3, 1, 2).float() / 255).contiguous()
    model = Naive()
    optimizer = torch.optim.Adam(model.parameters(), config.lr, foreach=False)

    def step() -> None:
        loss = model.loss(pixels[torch.randint(len(pixels), (config.batch,))])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def ours(images: Tensor, config: PretrainConfig) -> Callable[[], None]:
    """A step of `lapwing pretrain`."""
    trainer = Trainer(config, torch.device("cpu"))
    return lambda: _discard(trainer.step(images, config.steps // 2))


def _discard(_: object) -> None: ...


def epoch_s(step: Callable[[], None], steps: int, batch: int) -> float:
    """Seconds for as many steps as show 10,000 images."""
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - began) / steps * EPOCH / batch


def losses(images: Tensor, config: PretrainConfig) -> dict[str, float]:
    """The loss after some steps in bfloat16 and in float32, the mean of the last tenth."""
    found = {}
    has_bfloat16 = objective.has_bfloat16
    for name, low in (("float32", False), ("bfloat16", True)):
        objective.has_bfloat16 = lambda _, low=low: low
        trainer = Trainer(config, torch.device("cpu"))
        made = [trainer.step(images, step)[0] for step in range(config.steps)]
        found[name] = sum(made[-config.steps // 10 :]) / len(made[-config.steps // 10 :])
    objective.has_bfloat16 = has_bfloat16
    return found


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    settings = PretrainConfig()
    images = drive_frames(ENV, 2000, 0, roads="held_in").images
    runners = {"ours": ours(images, settings), "naive": naive(images, settings)}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for runner in runners.values():
        epoch_s(runner, 5, settings.batch)
    for number in range(config.rounds):
        for name in sorted(runners, reverse=bool(number % 2)):
            times[name].append(epoch_s(runners[name], config.steps, settings.batch))
    lost = losses(images, PretrainConfig(steps=config.loss_steps))
    result = {
        "epoch_10k_s": round(median(times["ours"]), 2),
        "naive_epoch_10k_s": round(median(times["naive"]), 2),
        "x_naive": round(median(b / a for a, b in zip(times["ours"], times["naive"], strict=True)), 2),
        "threads": config.threads,
        "bfloat16": objective.has_bfloat16(torch.device("cpu")),
        "loss_float32": round(lost["float32"], 2),
        "loss_bfloat16": round(lost["bfloat16"], 2),
    }
    console = Console()
    table = Table("figure", "measured", title="Pretraining, 64×64 frames, medians")
    for name, value in result.items():
        table.add_row(name, str(value))
    console.print(table)
    if config.json:
        console.out(json.dumps(result), highlight=False)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
