"""The first event of a journal: which search it is, and the libraries with which it began.

Takes settings and a space; returns plain values. Must not open the journal.
"""

import importlib.metadata
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerastrain.errors import InputError
from kerastrain.tuning import next_trial
from kerastrain.tuning.settings import Settings
from kerastrain.tuning.space import Space

_LIBRARIES = {"bayesian": ("keras-tuner", "scikit-learn", "scipy", "numpy"), "tpe": ("hyperopt", "numpy")}

logger = logging.getLogger("kerastrain")


def content(settings: Settings, space: Space) -> dict[str, Any]:
    """What the first event says.

    Args:
        settings: Settings.
        space: Space.

    Returns:
        dict of plain JSON values.

    Raises:
        InputError: the space has no grid, because a key has infinitely many values.
    """
    names = _LIBRARIES.get(settings.algorithm, ("numpy",))
    versions = {name: importlib.metadata.version(name) for name in names}
    planned = next_trial.planned_points(settings, space)
    record = {"settings": settings.to_dict(), "space": space.to_dict(), "planned": planned, "versions": versions}
    return json.loads(json.dumps(record))


def check(event: Mapping[str, Any], settings: Settings, space: Space, directory: Path) -> None:
    """Checks that a journal is that of a search, and warns if other versions of libraries may change its next proposals.

    Args:
        event: mapping, the first event.
        settings: Settings.
        space: Space.
        directory: Path of the search folder, for the message.

    Raises:
        InputError: settings or space are not those of the journal, or the space has no grid.
    """
    own = content(settings, space)
    different = [name for name in ("settings", "space") if event.get(name) != own[name]]
    if different:
        raise InputError(
            f"the settings and the space must be those that the search in '{directory}' began with. Received: another "
            f"{_difference(event.get(different[0]) or {}, own[different[0]])}. Resume it with the same, or search in another "
            "folder."
        )
    changed = [
        f"{name} {event['versions'][name]} is now {version}"
        for name, version in own["versions"].items()
        if event.get("versions", {}).get(name, version) != version
    ]
    if changed:
        logger.warning(
            "%s: the trials that ended stay, but the next ones may differ from those of an undisturbed search",
            ", ".join(changed),
        )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first name under which two records differ, with what was and what is there."""
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            return _difference(old, new)
        if old != new:
            return f"{name}, {json.dumps(new)} instead of {json.dumps(old)}"
    return "order of keys"
