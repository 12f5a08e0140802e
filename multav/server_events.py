"""Server-sent events as the service sends them: an id, a name, and one line of JSON each."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ServerEvent:
    """One event; a stream that asks with `Last-Event-ID: id` goes on behind it."""

    id: str | None
    name: str
    data: dict[str, Any]


def server_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The events of a stream's lines, each as soon as its data is there; what is no event is passed over."""
    number, name = None, "message"
    for line in lines:
        field, _, value = line.partition(":")
        if field == "id":
            number = value.strip()
        elif field == "event":
            name = value.strip()
        elif field == "data":
            yield ServerEvent(number, name, json.loads(value))
