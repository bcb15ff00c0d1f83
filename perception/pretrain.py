"""Train the VAE on recorded frames and report what it learned."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import msgspec
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from perception.dataset import Dataset
from perception.encoders.vae import VAE, VAEConfig, as_pixels, kl_nats
from perception.files import write_whole
from perception.graph import encoder_graph
from perception.probe import ridge_r2
from perception.progress import progress_bar
from perception.shards import LABELS, DatasetError

HELD_OUT = 10  # one frame in ten is kept from training: the last episodes
ACTIVE_VARIANCE = 0.01  # Burda 2016, section 5.2: Var of mu over the data above this
SHOWN = 8  # frames in the picture of reconstructions


@dataclass(frozen=True)
class PretrainConfig:
    dataset: Path = Path("runs/demo/episodes")  # folder of recorded episodes
    strict: bool = False  # what is damaged in it is an error; else it is left out with a warning
    out: Path = Path("runs/demo/vae")  # folder for vae.safetensors, vae.onnx, pretrain.json and reconstructions.png
    vae: VAEConfig = field(default_factory=VAEConfig)
    steps: int = 1500  # gradient steps
    batch: int = 32  # frames a step
    lr: float = 2e-3  # peak learning rate of Adam; warmed up and then annealed to zero
    shift_px: int = 8  # largest random sideways shift of a training image, in pixels; nearly a turn of the camera
    seed: int = 0  # of weights, batches and noise
    threads: int = 1  # CPU threads; on two cores one is faster than two that wait for each other


@dataclass(frozen=True)
class Report:
    """What `pretrain.json` says; the figures are of held-out frames."""

    config: PretrainConfig
    frames: int  # trained on
    seconds: float  # of training
    psnr_db: float  # of the reconstruction from the mean
    active_units: int  # latents that vary with the image
    kl_nats: float
    lane_r2: dict[str, float]  # share of each label's variance that is linear in the mean; of labels that are known


def pretrain(config: PretrainConfig) -> Report:
    """Train on a dataset and write `vae.safetensors`, the same as `vae.onnx`, `pretrain.json`, `reconstructions.png`.

    Raises DatasetError for a dataset that cannot be read or whose images have another size than `config.vae`'s.
    """
    torch.set_num_threads(config.threads)
    images, labels = _read(config)
    split = max(1, len(images) - math.ceil(len(images) / HELD_OUT))
    vae, seconds = train(images[:split], config)
    report = Report(config, split, seconds, **measure(vae, images, labels, split))
    weights = config.out / "vae.safetensors"
    vae.save(weights)
    write_whole(weights.with_suffix(".onnx"), encoder_graph(weights))
    write_whole(config.out / "reconstructions.png", picture(vae, images[split:]))
    write_whole(config.out / "pretrain.json", msgspec.json.format(msgspec.json.encode(report, enc_hook=str)))
    return report


def train(images: UInt8[Tensor, "n h w 3"], config: PretrainConfig) -> tuple[VAE, float]:
    """Return a VAE trained on those images, on the CPU in evaluation mode, and the seconds that took."""
    began = time.perf_counter()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = images.to(device)
    generator = torch.Generator(device).manual_seed(config.seed)
    vae = _new_vae(config).to(device)
    optimizer = torch.optim.Adam(vae.parameters(), config.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: annealing(step / config.steps))
    with progress_bar("steps", "loss {task.fields[loss]:.1f}", "PSNR {task.fields[psnr]:.1f} dB") as progress:
        task = progress.add_task("pretraining", total=config.steps, loss=math.nan, psnr=math.nan)
        for _ in range(config.steps):
            chosen = torch.randint(len(images), (config.batch,), generator=generator, device=device)
            batch = varied(images[chosen], config.shift_px, generator)
            with torch.autocast(device.type, torch.bfloat16, enabled=_has_bfloat16(device)):
                loss = vae.loss(batch, generator)
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.step()
            schedule.step()
            mse = loss.reconstruction.item() / batch[0].numel()
            progress.update(task, advance=1, loss=loss.total.item(), psnr=psnr_db(mse))
    return vae.cpu().eval(), round(time.perf_counter() - began, 1)


def annealing(progress: float) -> float:
    """Return the share of the peak learning rate: up in a line for a tenth of the way, and down along a cosine."""
    return min(1.0, 10 * progress + 0.01) * (1 + math.cos(math.pi * progress)) / 2


def varied(images: UInt8[Tensor, "b h w 3"], shift_px: int, generator: torch.Generator) -> UInt8[Tensor, "b h w 3"]:
    """Mirror about half of the images and shift each sideways by up to `shift_px`, the edge repeated.

    The policy is taught with mirrored drives too, and a shift is nearly a turn of the camera: both show the encoder
    places of the lane that were not recorded.
    """
    width, device = images.shape[2], images.device
    shift = torch.randint(-shift_px, shift_px + 1, (len(images), 1), generator=generator, device=device)
    columns = (torch.arange(width, device=device) + shift).clamp(0, width - 1)
    mirror = torch.rand((len(images), 1), generator=generator, device=device) < 0.5
    columns = torch.where(mirror, width - 1 - columns, columns)
    return images.gather(2, columns[:, None, :, None].expand(images.shape))


def measure(vae: VAE, images: UInt8[Tensor, "n h w 3"], labels: np.ndarray, split: int) -> dict:
    """Return the figures of a Report on images[split:]; labels: (n, 6) float32, columns as in LABELS."""
    mu, logvar, mse = map(torch.cat, zip(*(_encode(vae, chunk) for chunk in images.split(256)), strict=True))
    held, x = mu[split:], mu.numpy()
    known = ~np.isnan(labels).any(axis=0)  # of a real car none is
    r2 = ridge_r2(x[:split], labels[:split, known], x[split:], labels[split:, known])
    return {
        "psnr_db": psnr_db(mse[split:].mean().item()),
        "active_units": active_units(held),
        "kl_nats": kl_nats(held, logvar[split:]).mean().item(),
        "lane_r2": dict(zip(np.array(LABELS)[known].tolist(), r2.tolist(), strict=True)),
    }


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio of pixels in [0, 1]: −10 log₁₀ of the mean squared error."""
    return -10 * math.log10(mse)


def active_units(mu: Float[Tensor, "n z"]) -> int:
    """Return how many latents vary with the image: variance of the mean above 0.01 (Burda 2016, section 5.2)."""
    return int((mu.var(dim=0) > ACTIVE_VARIANCE).sum())


@torch.inference_mode()
def picture(vae: VAE, images: UInt8[Tensor, "n h w 3"]) -> bytes:
    """Return a PNG: up to eight images, evenly spaced, above their reconstructions."""
    shown = images[np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)]
    mu, _ = vae.encode(shown)
    restored = (vae.decode(mu).permute(0, 2, 3, 1).clamp(0, 1) * 255).round().byte()
    rows = [torch.nn.functional.pad(row, (0, 0, 1, 1, 1, 1), value=255) for row in (shown, restored)]
    tiles = np.concatenate([np.concatenate(list(row.numpy()), axis=1) for row in rows])
    large = cv2.resize(tiles, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", cv2.cvtColor(large, cv2.COLOR_RGB2BGR))[1].tobytes()


def _read(config: PretrainConfig) -> tuple[UInt8[Tensor, "n h w 3"], np.ndarray]:
    """All frames of the dataset and their labels, (n, 6) float32."""
    dataset = Dataset(config.dataset, strict=config.strict)
    found, expected = dataset.header.size, (config.vae.height_px, config.vae.width_px)
    if found != expected:
        raise DatasetError(f"{config.dataset}: images are {found} pixels (height, width), the VAE's are {expected}")
    if len(dataset) < HELD_OUT:
        raise DatasetError(f"{config.dataset}: holds {len(dataset)} frames, expected {HELD_OUT} or more to learn from")
    return torch.from_numpy(dataset.frames()), dataset.column(*LABELS)


def _new_vae(config: PretrainConfig) -> VAE:
    """A VAE whose weights depend on the seed alone: torch's layers draw them from global state."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return VAE(config.vae)


def _has_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 is computed in hardware; elsewhere it is slower than float32."""
    return device.type == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)


@torch.inference_mode()
def _encode(vae: VAE, images: UInt8[Tensor, "b h w 3"]) -> tuple[Tensor, Tensor, Float[Tensor, " b"]]:
    """Mean, log-variance and the mean squared error of the reconstruction from the mean, per image."""
    mu, logvar = vae.encode(images)
    return mu, logvar, (vae.decode(mu) - as_pixels(images)).square().mean(dim=(1, 2, 3))
