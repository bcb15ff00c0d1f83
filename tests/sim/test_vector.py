"""Many cars in one process are, per car and bit for bit, what single environments are."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from sim.dynamics import DynamicsRange
from sim.options import ScenarioError
from sim.vector import LaneFollowingVec

ID = "sim:LaneFollowing-v0"
SHORT = {"length_m": 60.0, "image_size": (24, 32)}
TRAFFIC = {"box": 10, "cone": 6, "lead vehicle": 3}
WORLDS = {
    "paper": {"roads": "held_in", "length_m": 12.0},
    "wild": {"scenario": "wild", "roads": "held_in", "length_m": 60.0},
    "one road in all weathers": {"scenario": "wild", "road_seed": 3, **SHORT},
    "traffic": {"scenario": "country", "roads": "held_out", "random_start": True, "obstacles": TRAFFIC, **SHORT},
    "circuit": {"scenario": "circuit", "vehicle": "racecar", "random_start": True, "image_size": (24, 32)},
    "grey": {"scenario": "wild", "grayscale": True, "vehicle": "donkey", **SHORT},
    "late": {"dynamics": DynamicsRange(actuation_delay=3, frame_delay=3, frame_drop=0.5), **SHORT},
}


@pytest.fixture
def make():
    """A LaneFollowingVec that is closed in the end."""
    made = []

    def make(num_envs: int = 3, **options) -> LaneFollowingVec:
        made.append(LaneFollowingVec(num_envs, **SHORT | options))
        return made[-1]

    yield make
    for envs in made:
        envs.close()


def actions(step: int, cars: int = 3) -> np.ndarray:
    """Ahead in a zigzag and a wide bend, so that every few dozen steps a car leaves its lane."""
    zigzag = np.random.default_rng(step).uniform([-0.3, 0.4], [0.3, 1.0], (cars, 2))
    bend = np.where(np.arange(cars) % 2, 0.15, -0.15)
    return (zigzag + np.stack([bend, 0 * bend], axis=1)).astype(np.float32)


def assert_same(found: object, wanted: object, where: str) -> None:
    """Bit for bit, with type and shape, whatever is nested in what."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict)
        assert set(found) == set(wanted), where
        for key in wanted:
            assert_same(found[key], wanted[key], f"{where}, {key}")
        return
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), where
    assert np.array_equal(found, wanted), where


def drive_both(vec: VectorEnv, sync: SyncVectorEnv, steps: int) -> int:
    """Drive both by the same actions; returns how many episodes ended."""
    ended = 0
    for step in range(steps):
        found, wanted = vec.step(actions(step)), sync.step(actions(step))
        for name, one, other in zip(("obs", "rewards", "terms", "truncs", "infos"), found, wanted, strict=True):
            assert_same(one, other, f"step {step}, {name}")
        ended += int((wanted[2] | wanted[3]).sum())
    return ended


@pytest.mark.parametrize("options", WORLDS.values(), ids=WORLDS)
def test_every_car_lives_what_a_single_environment_lives(options):
    """Also over the automatic resets, and with new seeds and some cars only."""
    sync = SyncVectorEnv([lambda: gymnasium.make(ID, **options)] * 3)
    vec = gymnasium.make_vec(ID, num_envs=3, vectorization_mode="vector_entry_point", **options)
    for found, wanted in zip(vec.reset(seed=7), sync.reset(seed=7), strict=True):
        assert_same(found, wanted, "reset")
    assert drive_both(vec, sync, 80) >= 2
    some = np.array([True, False, True])
    found, wanted = (envs.reset(seed=[1, 2, 3], options={"reset_mask": some.copy()}) for envs in (vec, sync))
    assert_same(found[0], wanted[0], "reset of some")
    assert found[1]["x_m"][[0, 2]].tolist() == wanted[1]["x_m"][[0, 2]].tolist()
    drive_both(vec, sync, 10)
    vec.close()
    sync.close()


@pytest.mark.parametrize("mode", ["vector_entry_point", None])
def test_gymnasium_makes_one_by_its_id(mode):
    chosen = {} if mode is None else {"vectorization_mode": mode}
    envs = gymnasium.make_vec(ID, num_envs=2, **chosen, **SHORT)
    assert isinstance(envs.unwrapped, LaneFollowingVec)
    assert envs.num_envs == 2
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    single = gymnasium.make(ID, **SHORT)
    assert envs.single_observation_space == single.observation_space
    assert envs.single_action_space == single.action_space
    obs, infos = envs.reset(seed=0)
    assert envs.observation_space.contains(obs)
    assert envs.action_space.shape == (2, 2)
    assert infos["_disengagement"].tolist() == [True, True]
    obs, rewards, terminations, truncations, _ = envs.step(envs.action_space.sample())
    assert envs.observation_space.contains(obs)
    assert (rewards.dtype, terminations.dtype, truncations.dtype) == (np.float64, bool, bool)
    single.close()
    envs.close()


@pytest.mark.parametrize("cars", [1, 5])
def test_any_number_of_cars(make, cars):
    envs = make(cars)
    obs, infos = envs.reset(seed=0)
    assert obs["image"].shape == (cars, 24, 32, 3)
    assert obs["state"].shape == (cars, 4)
    assert infos["distance_m"].shape == (cars,)
    assert envs.step(actions(0, cars))[1].shape == (cars,)


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_car_is_refused_in_one_line(count):
    with pytest.raises(ScenarioError, match=f"^num_envs is {count}; expected 1 or more$"):
        gymnasium.make_vec(ID, num_envs=count, vectorization_mode="vector_entry_point")


def test_observations_and_infos_are_the_callers_own(make):
    envs = make(scenario="wild", roads="held_in")
    obs, infos = envs.reset(seed=0)
    kept, copies = [], []
    for step in range(8):
        kept.append((obs["image"], obs["state"], infos["x_m"], infos["curvature_ahead_1pm"]))
        copies.append([array.copy() for array in kept[-1]])
        obs, *_, infos = envs.step(actions(step))
    for arrays, wanted in zip(kept, copies, strict=True):
        assert all(np.array_equal(array, copy) for array, copy in zip(arrays, wanted, strict=True))
    kept[-1][0][:] = 9  # nor does what the caller writes reach the next frame
    other = make(scenario="wild", roads="held_in")
    other.reset(seed=0)
    for step in range(9):
        wanted = other.step(actions(step))[0]["image"]
    assert np.array_equal(envs.step(actions(8))[0]["image"], wanted)


def test_the_same_seed_is_the_same_drive(make):
    envs = make(scenario="wild", roads="held_in", random_start=True)
    drives = []
    for _ in range(2):
        obs, infos = envs.reset(seed=11)
        drive = [obs["image"].tobytes(), infos["distance_m"].tolist()]
        for step in range(30):
            obs, rewards, *_ = envs.step(actions(step))
            drive += [obs["image"].tobytes(), rewards.tolist()]
        drives.append(drive)
    assert drives[0] == drives[1]


@pytest.mark.parametrize("seeds", [[4, 5, 6], (4, 5, 6), 4])
def test_a_seed_is_of_the_first_car_or_each_has_its_own(make, seeds):
    envs = make(roads="held_in")
    envs.reset(seed=seeds)
    found = [task.road.seed for task in envs.tasks]
    alone = []
    for seed in (4, 5, 6):
        env = gymnasium.make(ID, roads="held_in", **SHORT)
        env.reset(seed=seed)
        alone.append(env.unwrapped.road.seed)
        env.close()
    assert found == alone


def test_a_car_without_a_seed_goes_on_with_its_randomness(make):
    envs = make(roads="held_in")
    envs.reset(seed=4)
    first = [task.road.seed for task in envs.tasks]
    envs.reset(seed=[4, None, 6])
    again = [task.road.seed for task in envs.tasks]
    assert [again[0], again[2]] == [first[0], first[2]]
    assert again[1] != first[1]
    envs.reset(seed=4)
    envs.reset()
    assert [task.road.seed for task in envs.tasks][1] == again[1]


@pytest.mark.parametrize("seeds", [[1], [], [1, 2, 3, 4]], ids=str)
def test_seeds_for_another_number_of_cars_are_refused(make, seeds):
    with pytest.raises(ScenarioError, match=r"^seed is "):
        make().reset(seed=seeds)


@pytest.mark.parametrize(
    "seeds",
    [
        np.int64(3),
        np.int64(0),
        np.array([1, 2, 3]),
    ],
    ids=str,
)
def test_numpys_seeds_are_seeds(make, seeds):
    """A seed that is silently not used would make results that nobody can repeat."""
    envs = make(roads="held_in")
    envs.reset(seed=seeds)
    found = [task.road.seed for task in envs.tasks]
    envs.reset(seed=seeds.tolist())
    assert found == [task.road.seed for task in envs.tasks]


def test_only_the_masked_cars_begin_anew(make):
    envs = make(roads="held_in", random_start=True)
    envs.reset(seed=0)
    for step in range(5):
        before, *_, infos = envs.step(actions(step))
    mask = np.array([False, True, False])
    options = {"reset_mask": mask}
    obs, begun = envs.reset(seed=20, options=options)
    assert list(options) == ["reset_mask"]  # the caller's own
    for name in ("image", "state"):
        assert np.array_equal(obs[name][~mask], before[name][~mask])
    assert not np.array_equal(obs["image"][mask], before["image"][mask])
    assert obs["state"][1].tolist() == [0.0, 0.0, 0.0, -1.0]
    assert begun["x_m"][~mask].tolist() == infos["x_m"][~mask].tolist()
    assert begun["x_m"][1] != infos["x_m"][1]


def test_reset_options_place_every_car(make):
    _, infos = make().reset(seed=0, options={"distance_m": 20.0, "lateral_offset_m": 0.3})
    assert infos["distance_m"] == pytest.approx([20.0] * 3, abs=1e-6)
    assert infos["lateral_offset_m"] == pytest.approx([0.3] * 3, abs=1e-6)


def test_after_its_end_a_car_begins_anew_and_the_action_counts_for_nothing(make):
    envs = make(roads="held_in")
    envs.reset(seed=0)
    over, roads = np.zeros(3, bool), [task.road.seed for task in envs.tasks]
    while not over.any():
        *_, terminations, truncations, _ = envs.step(np.array([[1.0, 1.0], [0.0, -0.5], [0.0, -0.5]], np.float32))
        over = terminations | truncations
    obs, rewards, terminations, truncations, infos = envs.step(np.ones((3, 2), np.float32))
    assert over.tolist() == [True, False, False]
    assert obs["state"][0].tolist() == [0.0, 0.0, 0.0, -1.0]
    assert (rewards[0], terminations[0], truncations[0]) == (0.0, False, False)
    assert (infos["distance_m"][0], infos["disengagement"][0]) == (0.0, None)
    again = [task.road.seed for task in envs.tasks]
    assert again[0] != roads[0]
    assert again[1:] == roads[1:]


def test_infos_tell_of_every_car_and_that_they_do(make):
    envs = make()
    for infos in (envs.reset(seed=0)[1], envs.step(actions(0))[-1]):
        names = {key for key in infos if not key.startswith("_")}
        assert {f"_{name}" for name in names} == {key for key in infos if key.startswith("_")}
        for name in names:
            assert len(infos[name]) == 3
            assert infos[f"_{name}"].tolist() == [True] * 3
    assert infos["curvature_ahead_1pm"].shape == (3, 3)
    assert infos["disengagement"].tolist() == [None] * 3


def test_as_many_pictures_as_cars_and_only_when_asked(make):
    assert make().render() is None
    envs = make(scenario="wild", roads="held_in", render_mode="rgb_array")
    envs.reset(seed=0)
    envs.step(actions(0))
    pictures = envs.render()
    assert isinstance(pictures, tuple)
    assert [(picture.shape, picture.dtype) for picture in pictures] == [((384, 704, 3), np.uint8)] * 3
    assert not np.array_equal(pictures[0], pictures[1])
    single = gymnasium.make(ID, scenario="wild", roads="held_in", render_mode="rgb_array", **SHORT)
    single.reset(seed=1)
    single.step(actions(0)[1])
    assert np.array_equal(pictures[1], single.render())
    single.close()


@pytest.mark.parametrize("mode", ["human", "ansi"])
def test_a_way_to_render_that_there_is_not_is_refused(make, mode):
    with pytest.raises(ScenarioError, match="render_mode"):
        make(1, render_mode=mode)


def test_an_unknown_option_is_refused_in_one_line():
    with pytest.raises(ScenarioError, match=r"^option is 'colour'; expected one of "):
        LaneFollowingVec(2, colour="red")


def test_the_wrong_number_of_actions_is_refused(make):
    envs = make()
    envs.reset(seed=0)
    for wrong in (2, 4):
        with pytest.raises(ValueError, match="zip"):
            envs.step(actions(0, wrong))


def test_closing_frees_every_pybullet_and_twice_is_harmless(make, monkeypatch):
    import pybullet

    opened, connect = [], pybullet.connect
    monkeypatch.setattr(pybullet, "connect", lambda *mode: opened.append(connect(*mode)) or opened[-1])
    envs = make(4)
    envs.reset(seed=0)
    envs.close()
    envs.close()
    assert len(opened) == 4
    assert not any(pybullet.isConnected(client) for client in opened)
