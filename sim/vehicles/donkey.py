"""A 1/16 Donkey Car on the chassis of an Exceed Magnet; where no figure is published the value is our estimate."""

import math

from sim.spec import CameraSpec, VehicleSpec

DONKEY = VehicleSpec(
    name="donkey",
    scale=0.1,  # of its world: see the racecar
    wheelbase_m=0.174,  # Exceed Magnet
    track_m=0.14,  # Exceed Magnet
    wheel_radius_m=0.032,
    length_m=0.26,
    width_m=0.17,
    height_m=0.14,
    mass_kg=1.5,  # with battery, Raspberry Pi and roll cage
    tyre_friction=0.8,  # rubber on a floor
    top_speed_mps=0.6,  # 0.06 m a step on a lane of 0.3 m: as fast for its size as the racecar
    max_acceleration_mps2=2.0,
    max_braking_mps2=3.0,  # by its motor alone
    max_steering_rad=math.radians(25),
    max_steering_rate_radps=3.0,  # a hobby servo's 60° in 0.16 s, halved by the steering's links
    camera=CameraSpec(
        fov_rad=math.radians(120),  # the usual wide lens has 160° across the corners: no pinhole can show them
        x_m=0.03,
        height_m=0.13,
        pitch_rad=math.radians(25),
    ),
)
