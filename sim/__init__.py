"""The world: a road, a car and its camera as a Gymnasium environment.

`gymnasium.make("sim:LaneFollowing-v0")` makes one car's, `gymnasium.make_vec("sim:LaneFollowing-v0", num_envs=16)`
that of many. `gymnasium.make("sim:LaneState-v0")` tells what the simulator knows instead of an image, and draws a new
held-in road every episode; it takes the same options.
"""

from importlib.util import find_spec

if find_spec("gymnasium"):  # the roads and cars are of use without it
    import gymnasium
    from gymnasium.envs.registration import WrapperSpec

    gymnasium.register(
        "LaneFollowing-v0",
        entry_point="sim.lane_following:LaneFollowing",
        vector_entry_point="sim.vector:LaneFollowingVec",
    )
    gymnasium.register(
        "LaneState-v0",
        entry_point="sim.lane_following:LaneFollowing",
        additional_wrappers=(WrapperSpec("LaneState", "sim.wrappers:LaneState", {}),),
        kwargs={"roads": "held_in", "image_size": (1, 1)},
    )
