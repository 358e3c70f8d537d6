"""A stand-in for the web service of a parcel carrier, which is down at times."""

from __future__ import annotations

from dataclasses import dataclass, field


class CarrierDown(Exception):
    """The carrier's service does not answer."""


@dataclass
class Carrier:
    """Books parcels; a repeated request with the same key books no second one."""

    is_down: bool = False
    parcels: dict[str, str] = field(default_factory=dict)

    def book(self, order: str, *, key: str) -> str:
        """Return the number of the parcel; raises CarrierDown."""
        if self.is_down:
            raise CarrierDown("The carrier's service does not answer.")
        return self.parcels.setdefault(key, f"PI-{1001 + len(self.parcels)}")


carrier = Carrier()
