"""An encoder that the critic alone trains, and images that are shifted by hand."""

from dataclasses import replace
from pkgutil import resolve_name

import gymnasium
import numpy as np
import pytest
import torch
from rich.console import Console

from agent.algorithms import ALGORITHMS, CONFIGS
from agent.algorithms.ddpg import DDPGConfig
from agent.pixels import ConvEncoder, NoEncoder, encoder_for, shifted
from agent.replay.uniform import Batch
from agent.snapshot import load_newest
from agent.sync.train import SyncConfig, train_sync
from agent.update import Chance, seen

SHAPE = (16, 16, 3)
PIXELS = 16 * 16 * 3


def observations(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (count, PIXELS), generator=generator).float()
    return torch.cat([image, torch.rand(count, 2, generator=generator)], dim=1)


def test_images_are_shifted_down_and_right_and_repeat_their_edge():
    image = torch.arange(9.0).view(1, 3, 3, 1)
    down = shifted(image, torch.tensor([[1, 0]]))[0, :, :, 0]
    assert down.tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    left = shifted(image, torch.tensor([[0, -2]]))[0, :, :, 0]
    assert left.tolist() == [[2, 2, 2], [5, 5, 5], [8, 8, 8]]


def test_every_image_of_a_batch_has_a_shift_of_its_own():
    encoder, _ = encoder_for(PIXELS + 2, SHAPE)
    assert isinstance(encoder, ConvEncoder)
    shifts = encoder.draw(4000, torch.Generator().manual_seed(0))
    counts = torch.bincount(shifts[:, 0] + 4)
    assert len(counts) == 9
    assert counts.min() > 350  # of 444
    images = torch.rand(2, 5, 5, 1)
    moved = shifted(images, torch.tensor([[1, 0], [0, 0]]))
    assert torch.equal(moved[1], images[1])
    assert torch.equal(moved[0, 1:], images[0, :-1])


def test_the_state_follows_the_features_as_it_is():
    torch.manual_seed(0)
    encoder, size = encoder_for(PIXELS + 2, SHAPE)
    obs = observations(5)
    features = encoder(obs)
    assert features.shape == (5, size) == (5, 52)
    assert torch.equal(features[:, -2:], obs[:, -2:])
    assert features[:, :50].abs().max() <= 1
    assert not torch.equal(features[0, :50], features[1, :50])


def test_observations_without_an_image_stay_as_they_are():
    encoder, size = encoder_for(7, None)
    obs = torch.rand(3, 7)
    assert isinstance(encoder, NoEncoder)
    assert size == 7
    assert encoder(obs) is obs


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_only_the_critics_loss_trains_the_encoder(name):
    def moved(**rates: float) -> bool:
        torch.manual_seed(0)
        config = replace(resolve_name(CONFIGS[name])(), hidden=(8,), **rates)
        learner = resolve_name(ALGORITHMS[name])(config, PIXELS + 2, 2, image=SHAPE)
        batch = Batch(observations(6), torch.rand(6, 2), torch.rand(6), torch.full((6,), 0.9), observations(6, seed=1))
        before = weights(learner.encoder)
        for _ in range(2):
            learner.update(batch)
        return not torch.equal(weights(learner.encoder), before)

    assert moved(actor_lr=0.0, critic_lr=1e-3)
    assert not moved(actor_lr=1e-3, critic_lr=0.0)


def test_obs_and_next_obs_are_each_encoded_as_they_are_shifted():
    torch.manual_seed(0)
    encoder, _ = encoder_for(PIXELS + 2, SHAPE)
    obs, next_obs = observations(3), observations(3, seed=1)
    batch = Batch(obs, torch.rand(3, 2), torch.rand(3), torch.rand(3), next_obs)
    found = seen(encoder, batch, Chance(torch.tensor([[1, 0]] * 3), torch.tensor([[0, -1]] * 3), torch.empty(0)))
    image, following = (observed[:, :PIXELS].view(3, *SHAPE) for observed in (obs, next_obs))
    down = torch.cat([image[:, :1], image[:, :-1]], dim=1)
    left = torch.cat([following[:, :, 1:], following[:, :, -1:]], dim=2)
    for ours, moved, state in ((found.obs, down, obs[:, -2:]), (found.next_obs, left, next_obs[:, -2:])):
        with torch.no_grad():
            expected = encoder(torch.cat([moved.flatten(1), state], dim=1))
        assert torch.allclose(ours, expected, atol=1e-6)
    assert not torch.allclose(found.obs, encoder(obs), atol=1e-3)


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_an_update_shifts_obs_and_next_obs_each_in_its_own_way(name):
    torch.manual_seed(0)
    learner = resolve_name(ALGORITHMS[name])(resolve_name(CONFIGS[name])(hidden=(8,)), PIXELS + 2, 2, image=SHAPE)
    calls = []
    learner.encoder.register_forward_hook(lambda module, inputs, _: calls.append(inputs))
    obs, next_obs = observations(6), observations(6, seed=1)
    learner.update(Batch(obs, torch.rand(6, 2), torch.rand(6), torch.full((6,), 0.9), next_obs))
    (first, shift), (second, next_shift) = calls
    assert torch.equal(first, obs)
    assert torch.equal(second, next_obs)
    assert not torch.equal(shift, next_shift)
    assert min(len(shift.unique()), len(next_shift.unique())) > 3


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_policy_sees_for_itself(name):
    learner = resolve_name(ALGORITHMS[name])(resolve_name(CONFIGS[name])(), PIXELS + 2, 2, image=SHAPE)
    actions = learner.policy(observations(4))
    assert actions.shape == (4, 2)
    assert actions.abs().max() <= 1


class Lamp(gymnasium.Env):
    """One step an episode: the picture is dark or bright, and −|a − 0.6| or −|a + 0.6| is its reward."""

    observation_space = gymnasium.spaces.Dict(
        image=gymnasium.spaces.Box(0, 255, SHAPE, np.uint8), state=gymnasium.spaces.Box(0, 1, (2,), np.float32)
    )
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.bright = bool(self.np_random.random() < 0.5)
        return self._obs(), {}

    def step(self, action):
        reward = -abs(float(action[0]) - (0.6 if self.bright else -0.6))
        return self._obs(), reward, True, False, {}

    def _obs(self):
        image = self.np_random.integers(0, 40, SHAPE) + (200 if self.bright else 0)
        return {"image": image.astype(np.uint8), "state": np.zeros(2, np.float32)}


@pytest.fixture
def lamp():
    gymnasium.register("Lamp-v0", Lamp)
    yield "Lamp-v0"
    gymnasium.registry.pop("Lamp-v0")


@pytest.mark.slow
def test_a_policy_is_learned_from_pixels_and_goes_on_where_it_was(lamp, tmp_path):
    config = SyncConfig(
        env=lamp,
        steps=300,
        start_steps=100,
        update_ratio=2.0,
        evaluate_every=300,
        evaluation_episodes=20,
        checkpoint_every=150,
        replay_capacity=200,
        n_step=2,
        layers={"state": 1},
        algo="ddpg",
        ddpg=DDPGConfig(hidden=(32,), batch_size=32, actor_lr=1e-3, critic_lr=1e-3, tau=0.05),
        out=tmp_path / "straight",
    )
    result = train_sync(config, Console(quiet=True))
    assert result.evaluations[-1].mean > -0.25  # one answer to both pictures has −0.6
    half = replace(config, steps=150, evaluate_every=300, out=tmp_path / "resumed")
    train_sync(half, Console(quiet=True))
    train_sync(replace(config, out=tmp_path / "resumed", resume=True), Console(quiet=True))
    one, other = (load_newest(tmp_path / name / "checkpoints", pytest.fail) for name in ("straight", "resumed"))
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[key], other.tensors[key]) for key in one.tensors)
