"""A 1/10 racecar: geometry and mass of pybullet_data's racecar/racecar.urdf, limits of the F1TENTH simulator's car."""

import math

from sim.spec import CameraSpec, VehicleSpec

RACECAR = VehicleSpec(
    name="racecar",
    scale=0.15,  # of its world: for its length the car is broad, on a lane of 0.3 m it would touch both lines
    wheelbase_m=0.325,  # URDF: from the rear axle to the steering hinges
    track_m=0.2,  # URDF: between the hinges; the wheels' middles lie 0.245 m apart
    wheel_radius_m=0.05,  # URDF
    length_m=0.5,
    width_m=0.29,  # URDF: over the wheels
    height_m=0.2,
    mass_kg=5.9,  # URDF: all links together
    tyre_friction=0.8,  # rubber on a floor
    # The road shrinks with the car, the 0.1 s between two actions do not. At 0.9 m/s a step is 0.09 m on a lane of
    # 0.45 m, twice as much as the city car's for its lane; much faster, a driver who knows where it is (pure pursuit)
    # does not stay on it when its commands come two steps late.
    top_speed_mps=0.9,
    max_acceleration_mps2=2.5,
    max_braking_mps2=5.0,
    max_steering_rad=0.4189,  # f1tenth_gym: s_max
    max_steering_rate_radps=3.2,  # f1tenth_gym: sv_max
    camera=CameraSpec(
        fov_rad=math.radians(69),  # an Intel RealSense D435's colour lens, as many F1TENTH cars have
        x_m=0.1,
        height_m=0.17,
        pitch_rad=math.radians(15),
    ),
)
