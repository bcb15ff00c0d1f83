"""The vehicles that the simulator knows, one file each."""

from pkgutil import resolve_name

from sim.spec import VehicleSpec

VEHICLES = {"city_car": "sim.vehicles.city_car:CITY_CAR"}


def load_vehicle(name: str) -> VehicleSpec:
    """Return the preset of that name; KeyError when VEHICLES has none."""
    return resolve_name(VEHICLES[name])
