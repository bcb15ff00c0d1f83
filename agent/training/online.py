"""The VAE learned online: an algorithm, and beside it the encoder that learns from the same replayed frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from agent.pixels import LatentEncoder
from agent.replay.uniform import Sample
from agent.settings import Count, Positive
from agent.update import Adam, Part, descend, flat_state, load_flat_state
from perception.encoders.vae import VAEConfig
from perception.objective import taught
from perception.warp import Ruler, WarpConfig

if TYPE_CHECKING:
    from agent.training.config import Settings
    from agent.training.learner import Algorithm

OWN = "online."  # before the names of what is saved beside the algorithm's state


@dataclass(frozen=True)
class OnlineConfig:
    """A VAE that begins with weights at random and learns while the policy does (`--encoder online`)."""

    joint: bool = False  # the critic's loss trains the encoder, too; SAC-AE (Yarats 2019)
    steps: Count = 2  # gradient steps of the VAE before every update of the policy
    frames: Count = 16  # in a step, each warped in two ways, as in pretraining
    lr: Positive = 1e-3  # Adam's step size
    warm_up: Count = 250  # steps in which the step size, and the weight of the KL term, rise from 0
    vae: VAEConfig = field(default_factory=VAEConfig)
    warp: WarpConfig = field(default_factory=WarpConfig)


class Online:
    """An algorithm that begins each update by having its encoder learn from the frames of the sample.

    Then the update encodes all of the sample, obs and next_obs, with the weights that came of it: a latent is never
    kept, and two versions of the encoder never meet in a batch.

    encoder: the algorithm's own, a part of its state and of its policy.
    """

    def __init__(self, algorithm: "Algorithm", encoder: LatentEncoder, config: OnlineConfig) -> None:
        self.algorithm, self.encoder, self.settings = algorithm, encoder, config
        self.ruler = Ruler(config.vae.latent)
        self.optimizer = Adam(encoder.vae, self.ruler, lr=config.lr)
        self.generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        self.steps = 0

    @property
    def config(self) -> "Settings":
        """Those of the algorithm."""
        return self.algorithm.config

    @property
    def policy(self) -> nn.Module:
        """What drives: encoder and actor, whose weights travel together."""
        return self.algorithm.policy

    @property
    def value(self) -> nn.Module:
        """What the algorithm's actions are worth, asked about latents."""
        return self.algorithm.value

    def update(self, sample: Sample) -> Mapping[str, Tensor]:
        """Learn to see, then to act, from a sample; returns scalars to log."""
        obs = torch.cat([sample.batch.obs, sample.batch.next_obs])
        scalars: Mapping[str, Tensor] = {}
        for _ in range(self.settings.steps):
            chosen = torch.randint(len(obs), (self.settings.frames,), generator=self.generator)
            scalars = self._see(obs[chosen])
        return scalars | dict(self.algorithm.update(sample))

    def _see(self, obs: Tensor) -> dict[str, Tensor]:
        """One gradient step of the VAE on the images of these observations."""
        self.steps += 1
        progress = min(1.0, self.steps / self.settings.warm_up)
        self.optimizer.anneal(progress)
        images, vae = self.encoder.images(obs), self.encoder.vae
        beta_share = progress * vae.weights.kl_warmup
        loss = taught(vae, self.ruler, images, self.settings.warp, self.generator, beta_share)
        descend(self.optimizer, loss.total)
        return {"vae_loss": loss.total.detach(), "vae_kl": loss.penalty.detach()}

    @property
    def _parts(self) -> dict[str, Part]:
        return {"ruler": self.ruler, "optimizer": self.optimizer, "generator": self.generator}

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all that an update depends on, as flat names; the encoder's are among the algorithm's."""
        own = flat_state(self._parts) | {"steps": torch.tensor(self.steps)}
        return dict(self.algorithm.state_dict()) | {OWN + name: tensor for name, tensor in own.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there; the next update is bit-identical on the same machine."""
        own = {name.removeprefix(OWN): tensor for name, tensor in state.items() if name.startswith(OWN)}
        load_flat_state(self._parts, own)
        self.steps = int(own["steps"])
        self.algorithm.load_state_dict({name: x for name, x in state.items() if not name.startswith(OWN)})
