"""The vehicles that the simulator knows, one file each."""

from pkgutil import resolve_name

from sim.spec import VehicleSpec

VEHICLES = {
    "city_car": "sim.vehicles.city_car:CITY_CAR",
    "racecar": "sim.vehicles.racecar:RACECAR",
    "donkey": "sim.vehicles.donkey:DONKEY",
}


class VehicleError(ValueError):
    """There is no such vehicle."""

    exit_code = 2


def load_vehicle(name: str) -> VehicleSpec:
    """Return the preset of that name; VehicleError when VEHICLES has none."""
    if name not in VEHICLES:
        raise VehicleError(f"vehicle is {name!r}; expected one of {', '.join(VEHICLES)}")
    return resolve_name(VEHICLES[name])
