"""A two-seat electric city car of about the size of Kendall et al.'s (2018), held to their 10 km/h."""

import math

from sim.spec import VehicleSpec

CITY_CAR = VehicleSpec(
    name="city_car",
    scale=1.0,
    wheelbase_m=1.7,
    track_m=1.1,
    wheel_radius_m=0.28,
    length_m=2.34,
    width_m=1.24,
    height_m=1.46,
    mass_kg=560.0,  # with a driver
    tyre_friction=0.9,  # dry asphalt
    top_speed_mps=10 / 3.6,
    max_acceleration_mps2=1.5,
    max_braking_mps2=4.0,
    max_steering_rad=math.radians(30),
    max_steering_rate_radps=0.8,
)
