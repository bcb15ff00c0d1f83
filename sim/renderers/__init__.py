"""Implementations of one camera: `planar` is fast, `bullet` is the reference that holds it to PyBullet."""

RENDERERS = {
    "planar": "sim.renderers.planar:PlanarRenderer",
    "bullet": "sim.renderers.bullet:BulletRenderer",
}
