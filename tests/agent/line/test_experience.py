"""Random episodes become the transitions that an actor would have shipped, as lived and mirrored."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from agent.latent import RateLimit
from agent.line.experience import Transitions, random_experience
from perception.dataset import Dataset, EpisodeWriter
from perception.encoders.vae import VAE, VAEConfig
from perception.episodes import RecordConfig, record
from perception.shards import DatasetError, Header
from perception.sight import Pixels
from tests.agent.fakes import FACTS
from tests.perception.drives import episode


@pytest.fixture(scope="module")
def encoder() -> VAE:
    torch.manual_seed(0)
    return VAE(VAEConfig()).eval()


def joined(episodes: Iterable[Transitions]) -> list[np.ndarray]:
    return [np.concatenate(column) for column in zip(*(episode.arrays() for episode in episodes), strict=True)]


def test_every_recorded_transition_is_there_twice(dataset, encoder):
    obs, action, reward, terminated, next_obs = joined(random_experience(dataset, encoder, FACTS))
    episodes = list(Dataset(dataset).episodes())
    steps = sum(len(episode.rewards) for episode in episodes)
    assert len(obs) == len(action) == len(reward) == len(terminated) == len(next_obs) == 2 * steps
    assert reward.sum() == pytest.approx(2 * sum(episode.rewards.sum() for episode in episodes), rel=1e-5)
    assert terminated.sum() == 2 * sum(bool(episode.terminated) for episode in episodes)
    first = len(episodes[0].rewards)
    assert np.array_equal(action[:first], episodes[0].states[1:, 2:4])
    assert np.array_equal(action[first : 2 * first], action[:first] * [-1, 1])
    assert np.array_equal(obs[1:first], next_obs[: first - 1])


def test_the_first_observation_of_an_episode_remembers_no_action(dataset, encoder):
    obs = joined(random_experience(dataset, encoder, FACTS))[0]
    assert obs[0, -4:].tolist() == [0, -1, 0, -1]


def test_whoever_sees_by_itself_is_given_the_frames_themselves(dataset):
    obs, *_ = joined(random_experience(dataset, Pixels(), FACTS))
    first = next(Dataset(dataset).episodes())
    steps = len(first.rewards)
    assert obs.shape[1] == 64 * 64 * 3 + 6
    assert np.array_equal(obs[0, :-6], first.images[0].ravel())
    assert np.array_equal(obs[steps, :-6], first.images[0][:, ::-1].ravel())  # mirrored


def test_a_missing_dataset_is_named(tmp_path, encoder):
    with pytest.raises(DatasetError, match="nothing-here"):
        list(random_experience(tmp_path / "nothing-here", encoder, FACTS))


def written(folder, size=(64, 64), **changes):
    """A dataset of one episode, of the size that the encoder sees."""
    with EpisodeWriter(folder, Header("test", *size)) as writer:
        writer.append(episode(3, images=np.zeros((3, *size, 3), np.uint8), **changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"states": np.full((3, 4), np.nan)}, "state is not known"),
        ({"rewards": np.array([1.0, np.nan])}, "reward is not known"),
        ({"size": (32, 48)}, r"\(32, 48\).*\(64, 64\)"),
    ],
)
def test_a_dataset_that_one_cannot_learn_to_drive_from_is_named(tmp_path, encoder, changes, complaint):
    with pytest.raises(DatasetError, match=rf"data.*{complaint}") as caught:
        list(random_experience(written(tmp_path / "data", **changes), encoder, FACTS))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_lane_labels_need_not_be_known(tmp_path, encoder):
    folder = written(tmp_path / "data", labels=np.full((3, 6), np.nan))
    (episode,) = random_experience(folder, encoder, FACTS)
    assert len(episode) == 4  # two steps, as lived and mirrored


def test_frames_without_a_step_between_are_no_experience(tmp_path, encoder):
    record(RecordConfig(out=tmp_path / "data", frames=1))
    with pytest.raises(DatasetError, match="1 frames and no step between"):
        list(random_experience(tmp_path / "data", encoder, FACTS))


def test_the_rate_limit_moves_steering_no_further_than_the_motors_can():
    obs = torch.zeros(3, 38)
    obs[:, 34] = torch.tensor([0.0, 0.5, -0.9])  # where steering was executed last
    asked = torch.tensor([[1.0, 0.3], [0.45, -1.0], [-1.0, 1.0]])
    expected = torch.tensor([[0.15, 0.3], [0.45, -1.0], [-1.0, 1.0]])
    assert torch.allclose(RateLimit(0.15)(obs, asked), expected)


def test_the_gradient_passes_the_rate_limit():
    asked = torch.tensor([[1.0, 0.0]], requires_grad=True)
    RateLimit(0.15)(torch.zeros(1, 38), asked).sum().backward()
    assert asked.grad is not None
    assert asked.grad.tolist() == [[1.0, 1.0]]
