"""The paper's figures from the same run: maps of differences (Fig. 1), features of clean and hardened (Fig. 2)."""

from collections.abc import Sequence
from pathlib import Path

from multav.client import Client, Json
from multav.reproduction.plan import PlannedModel

_LAYER = "layer1"
_FAMILIES = ("linf",)


def figures(client: Client, models: Sequence[PlannedModel], video: Path, folder: Path) -> dict[str, Path]:
    """Attack `video` with both l-inf attacks, and look into the networks; what was written, by what it shows.

    Fig. 1: the clean model under PGD and under MultAV, each with its map of differences at 15x. Fig. 2: features of the
    clean model and of the one hardened with MultAV-linf, on the clean and on the attacked clip.
    """
    made: dict[str, Path] = {}
    network = models[0].network
    clean = next(each for each in models if each.row == "clean" and each.network == network)
    hardened = [
        each for each in models if each.network == network and each.row == "mult" and each.column in _FAMILIES
    ][:1]
    jobs: dict[str, Json] = {}
    for kind in ("pgd-linf", "multav-linf"):
        jobs[f"fig1-{kind}"] = _attack(client, clean, kind, video, features=False)
    for each in (clean, *hardened):
        jobs[f"fig2-{each.row}"] = _attack(client, each, "multav-linf", video, features=True)
    for name, job in jobs.items():
        job = client.wait(job["id"])
        if job["state"] != "succeeded":
            continue
        for role, path in client.download_all(job["id"], folder / name).items():
            made[f"{name}, {role}"] = path
    return made


def _attack(client: Client, model: PlannedModel, kind: str, video: Path, *, features: bool) -> Json:
    spec: Json = {
        "model": model.name,
        "attack": model.scale.attack(kind),
        "domain": "model_input",
        "coverage": "clip",
    }
    if features:
        spec["features"] = [_LAYER]
    return client.attack(video, spec, key=f"{model.name}-{kind}-{features}-{video.name}"[:255])
