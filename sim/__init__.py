"""The world: a road, a car and its camera as a Gymnasium environment.

`gymnasium.make("sim:LaneFollowing-v0")` makes one car's, `gymnasium.make_vec("sim:LaneFollowing-v0", num_envs=16)`
that of many.
"""

from importlib.util import find_spec

if find_spec("gymnasium"):  # the roads and cars are of use without it
    import gymnasium

    gymnasium.register(
        "LaneFollowing-v0",
        entry_point="sim.lane_following:LaneFollowing",
        vector_entry_point="sim.vector:LaneFollowingVec",
    )
