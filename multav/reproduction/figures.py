"""The paper's figures from the same run: maps of differences (Fig. 1), features of clean and hardened (Fig. 2)."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from multav.client import Client, Json
from multav.figures.lettering import font, one_line
from multav.figures.png import save_png
from multav.reproduction.plan import ADDITIVE, MULTIPLICATIVE, PlannedModel
from multav.reproduction.printed import NETWORKS
from multav.reproduction.run import JobEnded

_LAYER: Final = "layer1"
_TITLE_HEIGHT: Final = 40
_PAGE, _INK = (18, 18, 20), (235, 235, 235)


def figures(
    client: Client, models: Sequence[PlannedModel], video: Path, folder: Path, *, layer: str = _LAYER
) -> list[Path]:
    """Attack one clip of `video` and write `fig1.png` and `fig2.png` into `folder`; their paths.

    Fig. 1: the clean model under the first column's additive and multiplicative attack, each with its map of
    differences at 15x. Fig. 2: what `layer` of the clean model, and of the one hardened with the multiplicative attack,
    sees of the clip and of its multiplicative version. Raises `JobEnded` where an attack fails, and `ServiceProblem`.
    """
    column, network = models[0].scale.columns[0], models[0].network
    additive, multiplicative = ADDITIVE[column], MULTIPLICATIVE[column]
    of_network = [each for each in models if each.network == network]
    clean = next(each for each in of_network if each.row == "clean")
    hardened = next(each for each in of_network if (each.row, each.column) == ("mult", column))
    asked = {
        f"{additive} against the clean {NETWORKS[network]}": _attack(client, clean, additive, video),
        f"{multiplicative} against it": _attack(client, clean, multiplicative, video, layer),
        f"{multiplicative} against the one hardened with it": _attack(
            client, hardened, multiplicative, video, layer
        ),
    }
    made = {title: _files(client, job, folder / "attacks" / job["id"], title) for title, job in asked.items()}
    first, second, third = made
    return [
        _stacked({title: made[title]["preview"] for title in (first, second)}, folder / "fig1.png"),
        _stacked(
            {f"{layer}, {title}": made[title]["feature-maps"] for title in (second, third)},
            folder / "fig2.png",
        ),
    ]


def _attack(client: Client, model: PlannedModel, kind: str, video: Path, layer: str | None = None) -> Json:
    spec: Json = {
        "model": model.name,
        "attack": model.scale.attack(kind),
        "coverage": "clip",
        "features": [] if layer is None else [layer],
    }
    told = json.dumps(spec, sort_keys=True).encode() + video.read_bytes()
    # The same command again finds the attack that it made.
    return client.attack(video, spec, key=f"table1-{hashlib.sha256(told).hexdigest()}")


def _files(client: Client, job: Json, folder: Path, title: str) -> dict[str, Path]:
    job = client.wait(job["id"])
    if job["state"] != "succeeded":
        detail = (job["problem"] or {}).get("detail", job["state"])
        raise JobEnded(f"no figure of {title}: the attack {job['id']} ended so: {detail}")
    return client.download_all(job["id"], folder)


def _stacked(sheets: dict[str, Path], path: Path) -> Path:
    """The pictures below each other, each under its title."""
    pictures: dict[str, Image.Image] = {}
    for title, sheet in sheets.items():
        with Image.open(sheet) as file:
            pictures[title] = file.convert("RGB")
    width = max(picture.width for picture in pictures.values())
    height = sum(_TITLE_HEIGHT + picture.height for picture in pictures.values())
    page = Image.new("RGB", (width, height), _PAGE)
    draw, type_, top = ImageDraw.Draw(page), font(20), 0
    for title, picture in pictures.items():
        draw.text((12, top + 9), one_line(title, type_, width - 24), font=type_, fill=_INK)
        page.paste(picture, (0, top + _TITLE_HEIGHT))
        top += _TITLE_HEIGHT + picture.height
    save_png(np.asarray(page, dtype=np.uint8), path)
    return path
