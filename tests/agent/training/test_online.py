"""A VAE that learns beside the policy: one version of it in a batch, and only the gradients that are wanted in it."""

from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
import torch
from torch import Tensor

from agent.algorithms import ALGORITHMS
from agent.checkpoint import PolicyFacts, load_flat_weights, make_actor
from agent.line.loopback import Loopback
from agent.replay.frames import FrameReplay
from agent.replay.uniform import Batch
from agent.training.config import TrainConfig
from agent.training.learner import Algorithm, Learner, make_algorithm, make_replay
from agent.training.online import Online, OnlineConfig
from agent.training.ratio import Ratio
from agent.update import descend, seen
from perception.encoders.vae import VAEConfig
from perception.warp import WarpConfig
from tests.agent.fakes import FACTS

SIDE, STATE = 16, 6
EYE = VAEConfig(latent=4, height_px=SIDE, width_px=SIDE, crop_top=0.0, channels=(8, 8), kl_floor_nats=1.0)
SEEING = OnlineConfig(vae=EYE, warp=WarpConfig(weight=1.0), warm_up=1)
FRAMES = SIDE * SIDE * 3
SMALL = replace(TrainConfig(), ddpg=replace(TrainConfig().ddpg, batch_size=8))


def facts_of(algo: str = "ddpg") -> PolicyFacts:
    size = {"image_height": SIDE, "image_width": SIDE, "obs_size": FRAMES + STATE}
    return msgspec.structs.replace(FACTS, algo=algo, pixels=True, vae=EYE, **size)


def beginner(algo: str = "ddpg", online: OnlineConfig = SEEING, **rates: float) -> Online:
    torch.manual_seed(0)
    settings = replace(getattr(SMALL, algo), hidden=(16,), **rates)
    made = make_algorithm(algo, settings, facts_of(algo), online)
    assert isinstance(made, Online)
    return made


def bright_bars(count: int) -> Tensor:
    """Images, each with one bright column on dark ground, (count, SIDE, SIDE, 3) uint8."""
    images = torch.full((count, SIDE, SIDE, 3), 20, dtype=torch.uint8)
    images[torch.arange(count), :, torch.arange(count) % SIDE] = 220
    return images


def full_replay() -> FrameReplay:
    replay = make_replay(64, facts_of(), torch.Generator().manual_seed(0))
    assert isinstance(replay, FrameReplay)
    generator = torch.Generator().manual_seed(1)
    seen = torch.cat([bright_bars(33).flatten(1).float(), torch.rand(33, STATE, generator=generator)], dim=1)
    reward = torch.rand(32, generator=generator)
    replay.add(Batch(seen[:-1], torch.rand(32, 2, generator=generator), reward, torch.full((32,), 0.9), seen[1:]))
    return replay


def weights(network: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_all_latents_of_a_batch_are_of_the_encoder_as_the_update_made_it(algo, monkeypatch):
    learner, replay = beginner(algo), full_replay()
    module = f"agent.algorithms.{algo}"
    shown: list[Batch] = []

    def watched(*args):
        shown.append(seen(*args))
        return shown[-1]

    monkeypatch.setattr(f"{module}.seen", watched)
    latents = []
    sample = replay.sample(8)
    for _ in range(3):
        learner.update(sample)
        for asked, got in ((sample.batch.obs, shown[-1].obs), (sample.batch.next_obs, shown[-1].next_obs)):
            with torch.no_grad():
                newest = learner.encoder.vae.encode_mean(learner.encoder.images(asked))
            assert torch.equal(got[:, : EYE.latent], newest)
            assert torch.equal(got[:, EYE.latent :], asked[:, FRAMES:])
        latents.append(shown[-1].obs[:, : EYE.latent])
    assert all((one - other).abs().max() > 1e-4 for one, other in pairwise(latents))  # so it was another encoder


def gradients_in_the_eye(algo: str, joint: bool, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Whether the loss of the critic, and of the actor, has a gradient in the encoder."""
    learner, found = beginner(algo, replace(SEEING, joint=joint)), {}
    inner = learner.algorithm
    eye = list(learner.encoder.vae.parameters())

    def watched(optimizer, loss, *rest):
        gradients = torch.autograd.grad(loss, eye, retain_graph=True, allow_unused=True)
        name = "actor" if optimizer is inner.actor_optimizer else "critic"
        found[name] = any(gradient is not None and bool(gradient.any()) for gradient in gradients)
        return descend(optimizer, loss, *rest)

    monkeypatch.setattr(f"agent.algorithms.{algo}.descend", watched)
    for _ in range(2):  # TD3's actor moves every other time
        inner.update(full_replay().sample(8))
    return found


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_no_gradient_of_critic_or_actor_reaches_an_encoder_that_learns_online(algo, monkeypatch):
    assert gradients_in_the_eye(algo, False, monkeypatch) == {"critic": False, "actor": False}


@pytest.mark.parametrize("algo", list(ALGORITHMS))
def test_jointly_the_critics_gradient_reaches_the_encoder_and_the_actors_does_not(algo, monkeypatch):
    assert gradients_in_the_eye(algo, True, monkeypatch) == {"critic": True, "actor": False}


@pytest.mark.parametrize(
    ("joint", "critic_lr", "moves"), [(False, 1e-3, False), (True, 0.0, False), (True, 1e-3, True)]
)
def test_an_update_of_the_algorithm_moves_the_encoder_by_the_critic_alone(joint, critic_lr, moves):
    learner = beginner(online=replace(SEEING, joint=joint), critic_lr=critic_lr)
    before = weights(learner.encoder)
    learner.algorithm.update(full_replay().sample(8))
    assert (not torch.equal(weights(learner.encoder), before)) == moves


def test_the_vae_learns_to_paint_what_is_in_the_replay():
    learner, replay = beginner(), full_replay()
    images = bright_bars(16)

    def error() -> float:
        with torch.no_grad():
            painted = learner.encoder.vae.reconstruct(images)
        return (painted - learner.encoder.vae.seen(images)).square().mean().item()

    before = error()
    for _ in range(60):
        learner.update(replay.sample(8))
    assert error() < before / 2


def test_encoder_and_actor_reach_the_driver_as_one():
    """And it acts as the learner would, to the bit."""
    line = Loopback()
    learner = Learner(beginner(), full_replay(), Ratio(per_episode=2.0, per_step=0.0), line)
    driver, obs = make_actor(facts_of()), full_replay().sample(8).batch.obs
    acted = []
    for _ in range(2):
        learner.episodes += 1
        learner.take_turn(lambda *_: False)
        sent = line.newest_weights()
        assert sent is not None
        load_flat_weights(driver, torch.from_numpy(sent[1]))
        assert torch.equal(weights(driver.get_submodule("0.vae")), weights(learner.algorithm.encoder.vae))
        assert torch.equal(driver(obs), learner.algorithm.policy(obs))
        acted.append(driver(obs))
    assert learner.updates == 4
    assert not torch.equal(*acted)


def test_it_goes_on_bit_for_bit_from_what_was_saved():
    def moved(learner: Algorithm) -> dict[str, Tensor]:
        learner.update(full_replay().sample(8))
        return learner.state_dict()

    first, second = beginner(), beginner()
    for _ in range(3):
        saved = moved(first)
    second.load_state_dict(saved)
    one, other = moved(first), moved(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert int(one["online.steps"]) == 4 * SEEING.steps
