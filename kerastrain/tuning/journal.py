"""The journal of a search: one line of JSON for each thing that happened, which is never changed.

Takes and returns events, which are mappings with an "event" and a "time". A line that a killed process left unfinished is
dropped. Must not know what events mean: `search_state` does.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerastrain.errors import InputError
from kerastrain.system import files

FILE = "journal.jsonl"


class Journal:
    """Appends events to the journal of a search, whose events it reads first.

    Args:
        directory: Path of the search folder; made if missing.

    Raises:
        InputError: a line of the journal is damaged.
        WriteError: the journal cannot be written.
    """

    def __init__(self, directory: Path):
        self.path = Path(directory) / FILE
        self.events = read(directory)
        if not self.path.exists():
            files.write_text(self.path, "")
        self._drop_torn_line()

    def append(self, event: str, *, durable: bool = True, **content: Any) -> dict[str, Any]:
        """Appends an event.

        Args:
            event: str, its kind.
            durable: bool, whether the event must outlast a crash of the machine, not only of this process.
            **content: plain JSON values.

        Returns:
            dict, the event as it is read from the file.

        Raises:
            WriteError: the disk is full.
        """
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"event": event, "time": now, **content}) + "\n"
        length = self.path.stat().st_size
        try:
            with files.surface_write_errors(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):  # A later event must not be joined to half of this one.
                os.truncate(self.path, length)
            raise
        self.events.append(json.loads(line))
        return self.events[-1]

    def _drop_torn_line(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with files.surface_write_errors(self.path):
                os.truncate(self.path, whole)


def read(directory: Path) -> list[Mapping[str, Any]]:
    """Reads the events of a search.

    Args:
        directory: Path of the search folder.

    Returns:
        list of dict, empty if there is no journal.

    Raises:
        InputError: a line is damaged.
    """
    path = Path(directory) / FILE
    if not path.exists():
        return []
    events = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            event = json.loads(line)
            assert isinstance(event["event"], str)
        except (ValueError, KeyError, TypeError, AssertionError):
            raise InputError(
                f"every line of '{path}' must be an event. Received: {line[:60]!r} in line {number}. Remove the lines from "
                "there on; the trials that ended before stay."
            ) from None
        events.append(event)
    return events
