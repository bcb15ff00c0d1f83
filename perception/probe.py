"""What a latent knows, on roads that nothing was learned from: `lapwing probe`."""

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from perception.encoders import EncoderError, load_encoder
from perception.encoders.convolutions import Autoencoder
from perception.encoders.vae import kl_nats
from perception.files import write_whole
from perception.frames import Frames, drive_frames, read_frames
from perception.measures import active_units, errors, known, means, psnr_db, ssim
from perception.pictures import traversals
from perception.pretrain import new_encoder
from perception.shards import LABELS

HEADINGS = ("offset", "heading", "κ", "κ 2 m", "κ 5 m", "κ 10 m")  # of LABELS, for narrow terminals
LIKENESSES = 200  # frames whose SSIM is averaged


@dataclass(frozen=True)
class ProbeConfig:
    encoders: tuple[Path, ...] = (Path("runs/demo/vae/vae.safetensors"),)  # weights written by `lapwing pretrain`
    dataset: Path | None = None  # recorded episodes instead of frames of our own; judged by its last half
    env: str = "sim:LaneFollowing-v0"  # Gymnasium id of the environment to drive at random in
    scenario: str = "paper"  # what worlds there are, see docs/simulator.md
    frames: int = 4000  # on held-out roads to judge by, and as many on held-in ones to fit the regression on
    seed: int = 0  # of roads, starts and actions
    out: Path = Path("runs/demo/probe")  # folder for probe.json and a picture per encoder
    json: bool = False  # print one JSON object as the last line


@dataclass(frozen=True)
class Finding:
    """What is known of one latent; figures of reconstruction and KL only where there are such."""

    name: str
    latent: int
    r2: dict[str, float]  # of each label, by ridge regression
    active_units: int  # of encoders; a principal component or a random number has no scale of its own
    psnr_db: float | None = None
    ssim: float | None = None
    kl_nats: tuple[float, ...] | None = None  # of each latent


def probe(config: ProbeConfig, console: Console) -> list[Finding]:
    """Judge encoders, and beside them the pixels' principal components and an untrained encoder; write and print it.

    Raises EncoderError where the encoders see images of different sizes, DatasetError, and what the environment raises.
    """
    torch.set_num_threads(1)
    encoders = {str(path): load_encoder(path) for path in config.encoders}
    first = next(iter(encoders.values()))
    fit, judge = _frames(config, first)
    _insist_on_size(encoders, fit)
    findings = [_judged(name, encoder, fit, judge) for name, encoder in encoders.items()]
    findings += _baselines(first, config.seed, fit, judge)
    for number, encoder in enumerate(encoders.values()):
        name = f"probe-{number}.png" if number else "probe.png"
        write_whole(config.out / name, traversals(encoder, judge.images, means(encoder, judge.images)))
    found = msgspec.json.encode([asdict(finding) for finding in findings])
    write_whole(config.out / "probe.json", msgspec.json.format(found))
    console.print(table(findings))
    if config.json:
        console.out(found.decode(), highlight=False)
    return findings


def table(findings: list[Finding]) -> Table:
    """What is known, a row for each latent."""
    made = Table(title="What the latent knows: R² of a ridge regression on roads not seen before")
    for heading in ("", "z", *HEADINGS, "active", "PSNR", "SSIM", "KL"):
        made.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for f in findings:
        r2 = [f"{f.r2[label]:.3f}" if label in f.r2 else "–" for label in LABELS]
        kl = None if f.kl_nats is None else sum(f.kl_nats)
        told = ["–" if x is None else f"{x:.{digits}f}" for x, digits in ((f.psnr_db, 1), (f.ssim, 3), (kl, 1))]
        made.add_row(f.name, str(f.latent), *r2, str(f.active_units), *told)
    return made


def _frames(config: ProbeConfig, encoder: Autoencoder) -> tuple[Frames, Frames]:
    """Frames to fit the regression on, and others, of other roads, to judge by."""
    if config.dataset:
        frames = read_frames(config.dataset, encoder.config)
        return frames.split(len(frames.images) // 2)
    size = encoder.config.height_px, encoder.config.width_px
    options = {"scenario": config.scenario, "image_size": size}
    fit = drive_frames(config.env, config.frames, config.seed, roads="held_in", **options)
    return fit, drive_frames(config.env, config.frames, config.seed + 1, roads="held_out", **options)


def _insist_on_size(encoders: dict[str, Autoencoder], frames: Frames) -> None:
    expected = tuple(frames.images.shape[1:3])
    for path, encoder in encoders.items():
        if (found := (encoder.config.height_px, encoder.config.width_px)) != expected:
            raise EncoderError(f"{path}: sees images of {found} pixels (height, width), the frames have {expected}")


def _judged(name: str, encoder: Autoencoder, fit: Frames, judge: Frames) -> Finding:
    mu, error = means(encoder, judge.images), errors(encoder, judge.images)
    return Finding(
        name,
        encoder.config.latent,
        known(means(encoder, fit.images), fit.labels, mu, judge.labels),
        active_units(mu),
        psnr_db(error.mean().item()),
        likeness(encoder, judge),
        _kl(encoder, judge),
    )


@torch.inference_mode()
def likeness(encoder: Autoencoder, frames: Frames) -> float:
    """Mean SSIM of the reconstructions' grey, of up to 200 frames, evenly spaced."""
    chosen = frames.images[np.linspace(0, len(frames.images) - 1, min(LIKENESSES, len(frames.images))).astype(int)]
    grey = [pixels.mean(dim=1).numpy() for pixels in (encoder.seen(chosen), encoder.reconstruct(chosen))]
    return float(np.mean([ssim(a, b) for a, b in zip(*grey, strict=True)]))


@torch.inference_mode()
def _kl(encoder: Autoencoder, frames: Frames) -> tuple[float, ...] | None:
    """KL of each latent, the mean over the frames; None for an encoder without a posterior."""
    if encoder.numbers != 2:
        return None
    parts = [kl_nats(*encoder.encode(chunk)) for chunk in frames.images.split(256)]
    return tuple(torch.cat(parts).mean(dim=0).tolist())


def _baselines(encoder: Autoencoder, seed: int, fit: Frames, judge: Frames) -> list[Finding]:
    """As many principal components of what the encoder sees, and the same convolutions untrained."""
    size = encoder.config.latent
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        untrained = new_encoder("rae", encoder.config).eval()
        z, held_z = principal_components(encoder.seen(fit.images), encoder.seen(judge.images), size)
    components = Finding(f"PCA of the pixels, {size}", size, known(z, fit.labels, held_z, judge.labels), size)
    z, held_z = means(untrained, fit.images), means(untrained, judge.images)
    r2 = known(z, fit.labels, held_z, judge.labels)
    return [components, Finding("untrained encoder", size, r2, active_units(held_z))]


def principal_components(
    fit: Float[Tensor, "n c h w"], other: Float[Tensor, "m c h w"], count: int
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """The strongest components of the first images, and how much of each the others have."""
    x, y = fit.flatten(1), other.flatten(1)
    mean = x.mean(dim=0)
    count = min(count, *x.shape)
    _, _, directions = torch.svd_lowrank(x - mean, q=min(count + 10, *x.shape), niter=4)
    return (x - mean) @ directions[:, :count], (y - mean) @ directions[:, :count]
