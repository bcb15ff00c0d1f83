"""A pinhole camera written down once more, by rotation matrices and a 3x3 intrinsic matrix."""

import numpy as np

from sim.spec import CameraSpec


def project(world_m: np.ndarray, pose: tuple[float, float, float], camera: CameraSpec) -> np.ndarray:
    """Ground points (n, 2) to (column, row), (n, 2), for a car at pose (x, y, yaw); 0.5 is a pixel's middle."""
    x, y, yaw = pose
    c, s = np.cos(yaw), np.sin(yaw)
    car_from_world = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    ground = np.column_stack([world_m, np.zeros(len(world_m))]) - [x, y, 0]
    mount = ground @ car_from_world.T - [camera.x_m, 0, camera.height_m]
    c, s = np.cos(camera.pitch_rad), np.sin(camera.pitch_rad)
    nose_down = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])  # into axes that are turned down about y
    optical_from_mount = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])  # right, down, forward
    optical = mount @ (optical_from_mount @ nose_down).T
    focal = camera.width_px / (2 * np.tan(camera.fov_rad / 2))
    intrinsic = np.array([[focal, 0, camera.width_px / 2], [0, focal, camera.height_px / 2], [0, 0, 1]])
    homogeneous = optical @ intrinsic.T
    return homogeneous[:, :2] / homogeneous[:, 2:]
