"""Links to satellites in a scenario file: the orbit, the telescopes, and when the scenario takes place."""

import re
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Annotated, Self

import numpy as np
from pydantic import AwareDatetime, Field, model_validator
from sgp4.io import compute_checksum

from keyweave.emulator.hardware import Part, ProtocolSpec
from keyweave.emulator.physics.orbit import DAY_SECONDS, Orbit, Station
from keyweave.emulator.physics.satellite import FARTHEST_SECONDS, Downlink, Optics

Degrees = Annotated[float, Field(ge=-360, le=360)]
TleLine = Annotated[str, Field(min_length=69, max_length=69, pattern=r"^[\x20-\x7e]*$")]

_ELEMENTS = ("altitude_km", "inclination_degrees", "epoch")


class OrbitSpec(Part):
    """A round orbit by its elements, or any by two-line elements."""

    altitude_km: Annotated[float, Field(ge=200, le=50_000)] | None = None
    inclination_degrees: Annotated[float, Field(ge=0, le=180)] | None = None
    # Of the ascending node, from the vernal equinox.
    raan_degrees: Degrees = 0.0
    # From the ascending node, at the epoch.
    mean_anomaly_degrees: Degrees = 0.0
    epoch: AwareDatetime | None = None
    tle: tuple[TleLine, TleLine] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.tle is not None:
            surplus = sorted(self.model_fields_set - {"tle"})
            if surplus:
                raise ValueError(f"{surplus[0]} follows from tle; leave it or tle out")
            _check_tle(*self.tle)
            return self
        missing = [name for name in _ELEMENTS if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{' and '.join(missing)} missing; give {', '.join(_ELEMENTS)}, or tle")
        return self

    def orbit(self) -> Orbit:
        """The orbit as physics knows it."""
        if self.tle is not None:
            return Orbit.from_tle(*self.tle)
        assert self.altitude_km is not None
        assert self.inclination_degrees is not None
        assert self.epoch is not None
        return Orbit.circular(
            altitude_km=self.altitude_km,
            inclination_degrees=self.inclination_degrees,
            raan_degrees=self.raan_degrees,
            mean_anomaly_degrees=self.mean_anomaly_degrees,
            epoch=self.epoch.timestamp(),
        )


def _check_tle(line1: str, line2: str) -> None:
    """ValueError unless these are a satellite's two lines, as they were published."""
    for number, line in (("1", line1), ("2", line2)):
        if not re.match(rf"{number} [ \dA-Z]{{5}}", line):
            raise ValueError(f"tle: line {number} must begin with '{number} ' and the satellite's number")
        if line[68] != str(compute_checksum(line)):
            raise ValueError(
                f"tle: line {number} does not add up: its last figure is {line[68]}, its checksum "
                f"{compute_checksum(line)}; copy it again"
            )
    if line1[2:7] != line2[2:7]:
        raise ValueError(f"tle: the lines are of two satellites, {line1[2:7]} and {line2[2:7]}")
    if not Orbit.from_tle(line1, line2).is_possible:
        raise ValueError("tle: SGP4 knows no orbit with these elements")


class SatelliteSpec(Part):
    """What makes a link one from a satellite, at end a, down to a ground station, at end b."""

    orbit: OrbitSpec
    min_elevation_degrees: Annotated[float, Field(ge=5, lt=90)] = 10.0
    # Of the beam, the whole angle; and the width of the telescope on the ground.
    divergence_microradians: Annotated[float, Field(gt=0, le=10_000)] = 10.0
    aperture_m: Annotated[float, Field(gt=0, le=50)] = 1.0
    # Of the atmosphere with the satellite straight above.
    zenith_loss_db: Annotated[float, Field(ge=0, le=40)] = 0.0
    # Pointing and all else that does not change.
    other_loss_db: Annotated[float, Field(ge=0, le=60)] = 0.0
    night_only: bool = True
    # How low the sun stands in what counts as night: -6 is the end of civil twilight.
    sun_below_degrees: Annotated[float, Field(ge=-18, le=0)] = -6.0

    @model_validator(mode="after")
    def _night_is_used(self) -> Self:
        if not self.night_only and "sun_below_degrees" in self.model_fields_set:
            raise ValueError("sun_below_degrees has no effect without night_only; leave it out")
        return self

    @property
    def nearest_km(self) -> float:
        """From the satellite straight above, at its lowest."""
        return self.orbit.orbit().perigee_km

    @property
    def least_loss_db(self) -> float:
        """With the satellite there."""
        return self._optics().loss_db(90.0, self.nearest_km)

    def downlink(self, *, latitude_degrees: float, longitude_degrees: float) -> Downlink:
        """The link as physics knows it, with its ground station."""
        return Downlink(
            orbit=self.orbit.orbit(),
            station=Station(latitude_degrees, longitude_degrees),
            optics=self._optics(),
            min_elevation_degrees=self.min_elevation_degrees,
            sun_below_degrees=self.sun_below_degrees if self.night_only else None,
        )

    def _optics(self) -> Optics:
        return Optics(
            divergence_microradians=self.divergence_microradians,
            aperture_m=self.aperture_m,
            zenith_loss_db=self.zenith_loss_db,
            other_loss_db=self.other_loss_db,
        )


class SkySpec(Part):
    """When the scenario takes place, as far as satellites and the sun are concerned."""

    # Left out: when the emulator starts.
    starts_at: AwareDatetime | None = None
    # Skip to so long before the first contact of any link from then on.
    first_contact_after_seconds: Annotated[float, Field(ge=0, le=DAY_SECONDS)] | None = None

    def begins(self, downlinks: Collection[Downlink], now: float) -> float:
        """The Unix time in the sky when the scenario begins; ValueError where that cannot be."""
        since = now if self.starts_at is None else self.starts_at.timestamp()
        if any(np.isnan(each.orbit.positions_km(np.array([since]))).any() for each in downlinks):
            raise ValueError("a satellite has come down before; give elements that are more recent")
        if self.first_contact_after_seconds is None:
            return since
        day = since
        while day < since + FARTHEST_SECONDS:
            found = [window.start for each in downlinks for window in each.contacts(day, day + DAY_SECONDS)]
            # Where the satellite is in sight at once, that contact did not begin then.
            first = min((start for start in found if start > day), default=None)
            if first is not None:
                return first - self.first_contact_after_seconds
            day += DAY_SECONDS
        raise ValueError(f"no contact begins within {FARTHEST_SECONDS / DAY_SECONDS:.0f} days")


def check_way(
    given: AbstractSet[str], satellite: SatelliteSpec | None, protocol: ProtocolSpec | None, medium: str
) -> None:
    """ValueError unless the light's way is described once: by length and loss, or by a satellite's orbit."""
    described = ("length_km", "loss_db")
    if satellite is None:
        missing = [name for name in described if name not in given]
        if missing:
            raise ValueError(f"{' and '.join(missing)} missing; give length_km and loss_db, or a satellite")
        return
    surplus = [name for name in described if name in given]
    if surplus:
        raise ValueError(f"{surplus[0]} follows from the satellite's orbit; leave it or satellite out")
    if protocol is None:
        raise ValueError("a satellite's link has no one operating point; give its protocol with its hardware")
    if protocol.kind == "bbm92":
        raise ValueError("the source of bbm92 stands midway, not at an end; give another protocol")
    if "medium" in given and medium != "free-space":
        raise ValueError(f"medium {medium} does not reach a satellite; leave it out")
