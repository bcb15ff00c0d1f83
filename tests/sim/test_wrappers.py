"""The wrappers give what their spaces announce, in the order and units that they document."""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from gymnasium.utils.env_checker import check_env

from sim.scene import HELD_IN
from sim.spec import CONTROL_PERIOD_S
from sim.wrappers import FrameStack, LaneState
from tests.sim.scenes import CAR, straight

ID = "sim:LaneFollowing-v0"
AHEAD = np.array([0.2, 1.0], np.float32)


class Told(gymnasium.Env):
    """Says what the test has put in `obs` and `info`; its n-th image is n everywhere."""

    observation_space = Dict(image=Box(0, 255, (2, 3, 1), np.uint8), state=Box(-9, 9, (4,), np.float32))
    action_space = Box(-1, 1, (2,), np.float32)
    vehicle, road = CAR, straight()

    def __init__(self, state: list[float] | None = None, **info: Any) -> None:
        self._state, self._info, self._images = state or [0.0, 0.0, 0.0, -1.0], info, 0

    def _observe(self) -> dict[str, np.ndarray]:
        self._images += 1
        return {"image": np.full((2, 3, 1), self._images, np.uint8), "state": np.array(self._state, np.float32)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        return self._observe(), self._info

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        return self._observe(), 0.0, False, False, self._info


def told(state: list[float] | None = None, **info: Any) -> LaneState:
    nowhere = {
        "distance_m": 10.0,
        "lateral_offset_m": 0.0,
        "heading_error_rad": 0.0,
        "curvature_ahead_1pm": np.zeros(3),
    }
    return LaneState(Told(state, **nowhere | info))


# -- what the simulator knows


def test_the_state_is_in_the_documented_order_and_units():
    lock, top = CAR.max_steering_rad, CAR.top_speed_mps
    env = told(
        [top / 2, -lock / 4, 0.3, -0.6],
        lateral_offset_m=0.75,  # a lane of 3 m
        heading_error_rad=-0.1,
        curvature_ahead_1pm=np.array([0.01, 0.02, 0.03]),
    )
    expected = [0.5, -0.1, 0.01, 0.02, 0.03, 0.5, -0.25, 0.3, -0.6]
    for obs in (env.reset()[0], env.step(AHEAD)[0]):
        assert obs.tolist() == pytest.approx(expected)
        assert obs.dtype == np.float32


def test_curvature_is_told_at_full_size(monkeypatch):
    monkeypatch.setattr(Told, "vehicle", replace(CAR, scale=0.1))
    obs, _ = told(curvature_ahead_1pm=np.array([0.5, 0.0, -1 / 1.4])).reset()
    assert obs[2:5].tolist() == pytest.approx([0.05, 0.0, -1 / 14])


def test_what_is_beyond_the_bounds_is_told_as_the_bound():
    env = told([99.0, -99.0, 1.0, 1.0], lateral_offset_m=-50.0, curvature_ahead_1pm=np.array([9.0, -9.0, 0.5]))
    obs, _ = env.reset()
    assert obs.tolist() == [-2.0, 0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 1.0, 1.0]
    assert obs in env.observation_space


def test_the_state_follows_a_drive(made):
    env = LaneState(made(road_seed=3))
    obs, info = env.reset(options={"distance_m": 30.0, "lateral_offset_m": -0.6, "heading_error_rad": 0.1})
    road = env.get_wrapper_attr("road")
    ahead = [road.curvature_at(info["distance_m"] + metres) for metres in (2, 5, 10)]
    assert obs.tolist() == pytest.approx([-0.6 / 1.5, 0.1, *ahead, 0, 0, 0, -1], abs=0.01)
    assert np.abs(ahead).max() > 0
    for _ in range(3):
        obs, _, _, _, info = env.step(AHEAD)
    assert obs[0] == pytest.approx(info["lateral_offset_m"] / 1.5)
    assert obs[1] == pytest.approx(info["heading_error_rad"])
    assert obs[5] == pytest.approx(3 * CONTROL_PERIOD_S * 1.5 / CAR.top_speed_mps, rel=0.05)  # 1.5 m/s²
    assert obs[7:].tolist() == pytest.approx([0.2, 1.0], abs=1e-3)


def test_the_state_has_an_id_of_its_own_that_draws_another_held_in_road_every_episode():
    env = gymnasium.make("sim:LaneState-v0", length_m=60.0)
    seeds = set()
    for seed in (1, 2, None):
        obs, _ = env.reset(seed=seed)
        assert obs.shape == env.observation_space.shape == (9,)
        seeds.add(env.get_wrapper_attr("road").seed)
    assert len(seeds) == 3
    assert all(seed in HELD_IN for seed in seeds)
    assert env.get_wrapper_attr("road").length_m == pytest.approx(60.0, abs=1)
    again = gymnasium.make(env.spec)
    assert np.array_equal(again.reset(seed=2)[0], env.reset(seed=2)[0])
    again.close()
    env.close()


# -- the last frames


def test_frames_are_stacked_from_the_oldest_to_the_newest():
    env = FrameStack(Told(), 3)
    seen = [env.reset()[0]["image"], *(env.step(AHEAD)[0]["image"] for _ in range(3))]
    assert [image[0, 0].tolist() for image in seen] == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert all((image == image[0, 0]).all() for image in seen)


def test_an_episode_remembers_nothing_of_the_one_before():
    env = FrameStack(Told(), 2)
    env.reset()
    env.step(AHEAD)
    obs, _ = env.reset()
    assert obs["image"][0, 0].tolist() == [3, 3]


@pytest.mark.parametrize("k", [1, 2, 5])
def test_who_writes_into_a_stack_changes_no_later_one(k):
    env = FrameStack(Told(), k)
    for obs in (env.reset()[0], env.step(AHEAD)[0]):
        obs["image"][:] = 99
    assert env.step(AHEAD)[0]["image"].max() == 3


@pytest.mark.parametrize(
    ("options", "shape"), [({}, (64, 64, 12)), ({"grayscale": True, "image_size": (20, 30)}, (20, 30, 4))]
)
def test_each_part_of_a_stack_is_a_frame_as_the_camera_took_it(made, options, shape):
    frames, stacked = made(**options), FrameStack(made(**options), 4)
    plain = [frames.reset(seed=1)[0], *(frames.step(AHEAD)[0] for _ in range(5))]
    stacks = [stacked.reset(seed=1)[0], *(stacked.step(AHEAD)[0] for _ in range(5))]
    assert stacks[-1]["image"].shape == shape
    assert np.array_equal(stacks[-1]["image"], np.concatenate([obs["image"] for obs in plain[-4:]], axis=-1))
    assert np.array_equal(stacks[0]["image"], np.concatenate([plain[0]["image"]] * 4, axis=-1))
    assert all(np.array_equal(a["state"], b["state"]) for a, b in zip(plain, stacks, strict=True))


def test_fewer_than_one_frame_is_refused():
    with pytest.raises(ValueError, match="k is 0; expected 1 or more"):
        FrameStack(Told(), 0)


# -- both


@pytest.mark.parametrize("wrap", [LaneState, lambda env: FrameStack(env, 1), lambda env: FrameStack(env, 3)])
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
def test_gymnasiums_checker_is_content(made, wrap):
    check_env(wrap(made(length_m=60.0)), skip_render_check=True)


@pytest.mark.parametrize("wrap", [LaneState, lambda env: FrameStack(env, 3)])
def test_a_wrapped_environment_can_be_made_again_from_its_specification(made, wrap):
    env = wrap(made(length_m=60.0, road_seed=2))
    again = gymnasium.make(env.spec)
    assert again.observation_space == env.observation_space
    assert again.get_wrapper_attr("road").seed == 2
    again.close()
