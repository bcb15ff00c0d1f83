"""Train an encoder on recorded frames and report what it learned."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Literal

import msgspec
import torch
from jaxtyping import UInt8
from rich.console import Console
from torch import Tensor

from perception.encoders import ENCODERS, EncoderError, Familiar, save_encoder
from perception.encoders.convolutions import Autoencoder, EyeConfig
from perception.encoders.denoising import DenoisingConfig
from perception.encoders.rae import RAEConfig
from perception.encoders.vae import VAEConfig
from perception.files import write_whole
from perception.frames import Frames, read_frames
from perception.graph import encoder_graph
from perception.measures import active_units, errors, familiar_by, known, means, psnr_db
from perception.memory import keep_freed
from perception.objective import taught
from perception.pictures import reconstructions
from perception.progress import progress_bar
from perception.warp import Ruler, WarpConfig

CHECKED = 1000  # held-out images of which the penalty is told
HELD_OUT = 10  # one frame in ten is kept from training: the last episodes


@dataclass(frozen=True)
class PretrainConfig:
    dataset: Path = Path("runs/demo/episodes")  # folder of recorded episodes
    out: Path = Path("runs/demo/vae")  # folder for vae.safetensors, vae.onnx, pretrain.json and reconstructions.png
    strict: bool = False  # what is damaged in the dataset is an error; else it is left out with a warning
    model: Literal["vae", "denoising", "rae"] = "vae"  # what is trained; its file is called vae.* whichever it is
    vae: VAEConfig = field(default_factory=VAEConfig)
    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    rae: RAEConfig = field(default_factory=RAEConfig)
    warp: WarpConfig = field(default_factory=WarpConfig)
    steps: int = 1500  # gradient steps
    batch: int = 32  # images a step, an even number: half as many frames, each warped in two ways
    lr: float = 2e-3  # peak learning rate of Adam; warmed up and then annealed to zero
    seed: int = 0  # of weights, batches and noise
    threads: int = 1  # CPU threads; on two cores that are busy one is faster than two that wait for each other

    @property
    def encoder(self) -> EyeConfig:
        """The settings of the model that is trained."""
        return getattr(self, self.model)


@dataclass(frozen=True)
class Report:
    """What `pretrain.json` says; the figures are of held-out frames."""

    config: PretrainConfig
    frames: int  # trained on
    seconds: float  # of training
    psnr_db: float  # of the reconstruction from the mean
    active_units: int  # latents that vary with the image
    collapsed: bool  # none does
    penalty: float  # KL in nats, or half the squared length of the latent
    familiar: Familiar  # quantiles of the reconstruction's error
    lane_r2: dict[str, float]  # share of each label's variance that is linear in the mean; of labels that are known

    def verdict(self) -> str:
        """What came of it, in one line."""
        if self.collapsed:
            return (
                f"the latent has collapsed: none of {self.config.encoder.latent} units varies with the image; "
                "a lower --vae.beta or a higher --vae.kl-floor-nats leaves it room"
            )
        r2 = ", ".join(f"{label} {share:.2f}" for label, share in self.lane_r2.items()) or "no labels"
        return f"{self.active_units} of {self.config.encoder.latent} units active; R² on held-out frames: {r2}"


class PretrainError(ValueError):
    """Settings that cannot be trained with, or a loss that is not finite any more."""

    exit_code = 2


def pretrain(config: PretrainConfig) -> Report:
    """Train on a dataset and write `vae.safetensors`, the same as `vae.onnx`, `pretrain.json`, `reconstructions.png`.

    Raises DatasetError as `read_frames` does, EncoderError and PretrainError for settings that make no sense.
    """
    torch.set_num_threads(config.threads)
    keep_freed()
    frames = read_frames(config.dataset, config.encoder, strict=config.strict)
    learned, held = frames.split(len(frames.images) - math.ceil(len(frames.images) / HELD_OUT))
    encoder, seconds = train(learned.images, config)
    report = Report(config, len(learned.images), seconds, **measure(encoder, learned, held))
    weights = config.out / "vae.safetensors"
    save_encoder(weights, encoder, report.familiar)
    write_whole(weights.with_suffix(".onnx"), encoder_graph(weights))
    write_whole(config.out / "reconstructions.png", reconstructions(encoder, held.images))
    write_whole(config.out / "pretrain.json", msgspec.json.format(msgspec.json.encode(report, enc_hook=str)))
    Console(soft_wrap=True, markup=False, highlight=False).print(report.verdict())
    return report


def train(images: UInt8[Tensor, "n h w 3"], config: PretrainConfig) -> tuple[Autoencoder, float]:
    """Return an encoder trained on those images, on the CPU in evaluation mode, and the seconds that took.

    Raises EncoderError or PretrainError.
    """
    began = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(config, device)
    images = images.to(device)
    with progress_bar("steps", "loss {task.fields[loss]:.1f}", "PSNR {task.fields[psnr]:.1f} dB") as progress:
        task = progress.add_task("pretraining", total=config.steps, loss=math.nan, psnr=math.nan)
        for step in range(config.steps):
            loss, mse = trainer.step(images, step)
            progress.update(task, advance=1, loss=loss, psnr=psnr_db(mse))
    return trainer.encoder.cpu().eval(), round(time.perf_counter() - began, 1)


class Trainer:
    """Any encoder, its ruler and their optimizer; the weights depend on the seed alone.

    Images are channels last in memory, Adam is one call for all weights, and what can be is computed in bfloat16 where
    the hardware has it; the loss and the weights are float32.
    """

    def __init__(self, config: PretrainConfig, device: torch.device) -> None:
        if config.batch < 2 or config.batch % 2 or config.steps < 1:
            raise PretrainError(
                f"batch is {config.batch}, steps {config.steps}; expected an even number, and 1 or more"
            )
        self.config = config
        with torch.random.fork_rng():  # torch's layers draw their weights from global state
            torch.manual_seed(config.seed)
            self.encoder = new_encoder(config.model, config.encoder).to(device)
            self.ruler = Ruler(config.encoder.latent).to(device)
        self.generator = torch.Generator(device).manual_seed(config.seed)
        parameters = [*self.encoder.parameters(), *self.ruler.parameters()]
        self.optimizer = torch.optim.Adam(parameters, config.lr, foreach=True)

    def step(self, images: UInt8[Tensor, "n h w 3"], step: int) -> tuple[float, float]:
        """Learn from a batch drawn from the images; returns the loss and the squared error per pixel and colour."""
        config, device, progress = self.config, images.device, step / self.config.steps
        self.optimizer.param_groups[0]["lr"] = config.lr * annealing(progress)
        chosen = torch.randint(len(images), (config.batch // 2,), generator=self.generator, device=device)
        loss = taught(self.encoder, self.ruler, images[chosen], config.warp, self.generator, progress)
        self.optimizer.zero_grad()
        loss.total.backward()
        self.optimizer.step()
        if not math.isfinite(lost := loss.total.item()):
            raise PretrainError(f"the loss is {lost} in step {step}: the learning rate, lr {config.lr:g}, is too high")
        return lost, loss.reconstruction.item() / self.encoder.seen(images[:1]).numel()


def new_encoder(model: str, config: EyeConfig) -> Autoencoder:
    """An encoder of that name with weights at random. Raises EncoderError."""
    if model not in ENCODERS:
        raise EncoderError(f"encoder {model!r} is unknown; expected one of {', '.join(ENCODERS)}")
    return resolve_name(ENCODERS[model])(config)


def annealing(progress: float) -> float:
    """Return the share of the peak learning rate: up in a line for a tenth of the way, and down along a cosine."""
    return min(1.0, 10 * progress + 0.01) * (1 + math.cos(math.pi * progress)) / 2


def measure(encoder: Autoencoder, learned: Frames, held: Frames) -> dict:
    """Return the figures of a Report on the held-out frames."""
    mu, error = means(encoder, held.images), errors(encoder, held.images)
    with torch.inference_mode():
        penalty = encoder.loss(held.images[:CHECKED], torch.Generator().manual_seed(0), 1.0).penalty.item()
    active = active_units(mu)
    return {
        "psnr_db": psnr_db(error.mean().item()),
        "active_units": active,
        "collapsed": active == 0,
        "penalty": penalty,
        "familiar": familiar_by(error),
        "lane_r2": known(means(encoder, learned.images), learned.labels, mu, held.labels),
    }
