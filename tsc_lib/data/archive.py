"""Which data sets of an archive are on this machine, by pattern and by group."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tsc_lib.core.errors import UserError
from tsc_lib.core.limits import quote
from tsc_lib.data.ucr import list_folders

GROUPS = {
    "all": ("*",),
    "electrical": (
        *("ACSF1", "Computers", "ElectricDevices", "Freezer*", "HouseTwenty", "ItalyPowerDemand"),
        *("LargeKitchenAppliances", "PLAID", "PowerCons", "RefrigerationDevices", "ScreenType"),
        "SmallKitchenAppliances",
    ),
}
"""Groups of data sets by name: patterns of what they hold. ``electrical`` is the study's own domain."""


def is_pattern(name: str) -> bool:
    """Whether a name stands for several data sets: a group, or one with ``*``, ``?`` or ``[`` and no folder.

    Examples
    --------
    >>> is_pattern("electrical"), is_pattern("Freezer*"), is_pattern("PLAID"), is_pattern("./my*")
    (True, True, False, False)
    """
    return name in GROUPS or ("/" not in name and any(letter in name for letter in "*?["))


def find_datasets(pattern: str) -> list[str]:
    """Names of the data sets on this machine that a pattern or a group names, in alphabetical order.

    Looked through is the folder that ``AEON_DATA`` names, else ``~/aeon_data``; both files of a data set must be there.

    Raises
    ------
    UserError
        If there is none.
    """
    patterns = GROUPS.get(pattern, (pattern,))
    found = [name for name in list_datasets() if any(fnmatchcase(name, each) for each in patterns)]
    if not found:
        places = " or ".join(map(str, list_folders())) or "no folder"
        raise UserError(
            f"no data set in {places} is called {quote(pattern)}; name the folder of the archive in AEON_DATA"
        )
    return found


def list_datasets() -> list[str]:
    """Names of all data sets on this machine, in alphabetical order; see `find_datasets`."""
    names = {
        folder.name
        for root in list_folders()
        for folder in root.iterdir()
        if all((folder / f"{folder.name}_{part}.ts").is_file() for part in ("TRAIN", "TEST"))
    }
    return sorted(names)
