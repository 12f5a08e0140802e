"""The jobs of a plan that a service has already, so that the same command goes on days after it was broken off."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from multav.client import Json

_BY_USE = {"succeeded": 0, "running": 1, "queued": 1, "failed": 2, "cancelled": 2}


def earlier_jobs(jobs: Iterable[Json], bodies: Mapping[str, Json]) -> dict[str, Json]:
    """Of each model the job that was asked for what `bodies` has for it; of several the one that came furthest.

    `jobs` are trainings or audits, newest first, with their requests as the service completed them: a job is the one
    that was asked for where every field of the body is there again. (Idempotency-Keys are forgotten after a day.)
    """
    wanted = {name: json.loads(json.dumps(body)) for name, body in bodies.items()}
    found: dict[str, Json] = {}
    for job in jobs:
        for name in _models_of(job["spec"]):
            if name not in wanted or not _has(job["spec"], wanted[name]):
                continue
            if name not in found or _BY_USE[job["state"]] < _BY_USE[found[name]["state"]]:
                found[name] = job
    return found


def _models_of(spec: Json) -> list[str]:
    """The model that a training makes, or those of an audit."""
    return spec["models"] if "models" in spec else [spec["name"]]


def _has(given: Any, wanted: Any) -> bool:
    """Whether `given` says everything that `wanted` says; objects may say more."""
    if isinstance(wanted, dict):
        return isinstance(given, dict) and all(
            name in given and _has(given[name], wanted[name]) for name in wanted
        )
    if isinstance(wanted, list):
        pairs = (
            zip(given, wanted, strict=True) if isinstance(given, list) and len(given) == len(wanted) else None
        )
        return pairs is not None and all(_has(one, other) for one, other in pairs)
    return bool(given == wanted)
