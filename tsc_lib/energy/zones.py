"""The Linux powercap tree: which RAPL zones of this machine count, and whether they can be read.

Zones are found by name, flat or nested, as the kernel shows them. Packages and the DRAM below them add up to the
machine's energy. `core` and `uncore` are part of their package and `psys` contains it, so none of them is counted. A
package that shows up a second time under another control type (``intel-rapl-mmio``) is the same counter, read once.

References
----------
.. [1] Linux kernel documentation, "Power Capping Framework".
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tsc_lib.energy.follow import CounterFile, parse_count
from tsc_lib.energy.source import UnusableError

VARIABLE = "TSC_SYSFS_ROOT"

CONTROL_TYPES = ("intel-rapl", "intel-rapl-tpmi", "intel-rapl-mmio")
"""Most direct first. AMD processors appear as ``intel-rapl`` too."""

ZONE = re.compile(r"(intel-rapl(?:-tpmi|-mmio)?):\d+(?::\d+)?")
PACKAGE = re.compile(r"package-(\d+)(?:-die-\d+)?")

ONE_ENERGY_REGISTER = ("AuthenticAMD", "HygonGenuine")
"""Makers whose packages have one register for all of their dies, which some kernels show once for each die."""

UDEV_RULE = 'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/sh -c \'chmod a+r /sys%p/energy_uj\'"'


@dataclass(frozen=True)
class Zone:
    """A counter of energy.

    Attributes
    ----------
    domain : str
        ``package-0``, or ``package-0/dram``.
    path : Path
        Its folder.
    range_uj : int
        Where the counter wraps to zero, in microjoules.
    """

    domain: str
    path: Path
    range_uj: int

    @property
    def package(self) -> int:
        """The number of the processor package that it belongs to."""
        match = PACKAGE.match(self.domain)
        assert match is not None
        return int(match[1])

    def open(self) -> CounterFile:
        """The counter, ready to be read; an `OSError` if it cannot be opened."""
        return CounterFile(str(self.path / "energy_uj"), self.range_uj)


def find_sysfs() -> Path:
    """Where sysfs is mounted: the folder that ``TSC_SYSFS_ROOT`` names, else ``/sys``."""
    return Path(os.environ.get(VARIABLE) or "/sys")


def find_zones(root: Path) -> list[Zone]:
    """Every zone that counts towards the machine's energy, below where sysfs is mounted.

    Raises
    ------
    UnusableError
        If there is none, or one of them cannot be read: an energy that lacks a part would be wrong without a sign.
    """
    powercap = root / "class" / "powercap"
    if not powercap.is_dir():
        raise UnusableError(
            f"{powercap} does not exist: load the driver (modprobe intel_rapl_msr), or, in a virtual machine or a "
            "container, ask the host, which keeps its counters to itself"
        )
    found = {path.name: path for pattern in ("*/*/*:*", "*/*:*", "*:*") for path in powercap.glob(pattern)}
    found = {name: found[name] for name in sorted(found) if ZONE.fullmatch(name)}
    counted: dict[str, Path] = {}
    for control_type in CONTROL_TYPES:
        for name in [name for name in found if name.startswith(f"{control_type}:") and name.count(":") == 1]:
            package = _name(found[name])
            mirrored = package in counted and not counted[package].name.startswith(f"{control_type}:")
            if mirrored or not PACKAGE.fullmatch(package):
                continue
            memory = [path for child, path in found.items() if child.startswith(f"{name}:") and _name(path) == "dram"]
            for domain, path in [(package, found[name]), *((f"{package}/dram", path) for path in memory)]:
                if domain in counted:
                    raise UnusableError(f"{counted[domain]} and {path} are both named {domain}")
                counted[domain] = path
    if not counted:
        raise UnusableError(
            f"{powercap} holds no zone named package-0, package-1, ...: the driver found no RAPL counter"
        )
    if missing := list_packages(root) - {int(m[1]) for domain in counted if (m := PACKAGE.fullmatch(domain))}:
        raise UnusableError(f"{powercap} has no zone for package {min(missing)}, whose energy would be left out")
    return [_zone(domain, path) for domain, path in counted.items()]


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"{zone / 'name'} cannot be read ({error}), so it is unknown what the zone counts"
        raise UnusableError(reason) from None


def list_packages(root: Path) -> set[int]:
    """The processor packages that have a CPU, if the system tells."""
    found = set()
    for path in (root / "devices" / "system" / "cpu").glob("cpu[0-9]*/topology/physical_package_id"):
        try:
            found.add(parse_count(path.read_bytes()))
        except (OSError, ValueError):
            return set()  # such as -1, where the system does not know
    return found


def _zone(domain: str, path: Path) -> Zone:
    limit, counter = path / "max_energy_range_uj", path / "energy_uj"
    try:
        zone = Zone(domain, path, parse_count(limit.read_bytes()))
    except (OSError, ValueError) as error:
        reason = f"{limit} cannot be read ({error}), so a counter that wraps could not be followed"
        raise UnusableError(reason) from None
    if zone.range_uj == 0:
        raise UnusableError(f"{limit} is 0, so a counter that wraps could not be followed")
    try:
        zone.open().energy_uj()
    except PermissionError:
        raise UnusableError(
            f"{counter} is readable by root only: allow it until the next start with sudo chmod a+r {counter}, "
            f"or for good with the line {UDEV_RULE} in /etc/udev/rules.d/99-rapl.rules"
        ) from None
    except (OSError, ValueError) as error:
        raise UnusableError(f"{counter} cannot be used: {error}") from None
    return zone
