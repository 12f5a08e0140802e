"""What is trained and audited for Table 1, at the paper's scale or small. Torch-free.

Every model starts from the same weights (the paper: a network pretrained on Kinetics), is trained on nothing or on one
attack, and meets the multiplicative attack of its column, with the additive twin beside it.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from multav.reproduction.printed import COLUMNS, NETWORKS, Column, NetworkKey

Json = dict[str, Any]
Row = Literal["clean", "mult", "add", "matched"]
"""Trained on nothing, on the multiplicative attack, on the additive one, on an additive one of the same mean budget."""

MULTIPLICATIVE: Final[dict[Column, str]] = {
    "linf": "multav-linf",
    "l2": "multav-l2",
    "roa": "multav-roa",
    "af": "multav-af",
    "spa": "multav-spa",
}
ADDITIVE: Final[dict[Column, str]] = {
    "linf": "pgd-linf",
    "l2": "pgd-l2",
    "roa": "roa",
    "af": "af",
    "spa": "spa",
}


def network_arguments(network: NetworkKey, frames: int) -> Json:
    """What tells the network from the plain one, for clips of so many frames.

    The paper's two denoising networks are what they have to be for their parameter counts (paper-facts C6).
    """
    if network == "r18":
        return {}
    if network == "r18-3d":
        return {"denoise": "frame_shared"}
    return {"denoise": "frame_separate", "denoise_options": {"frames": frames}}


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    `training` is what all trainings have in common (a body of `POST /v1/trainings`), `clean_training` what those on
    clean clips have instead; `attacks` by kind are fields that differ from the paper's. `seeds` are of every model,
    `more_seeds` of those of the l-inf column. `matched_epsilon` is the additive bound that moves a pixel of the
    training set as far, on average, as MultAV-linf may; None leaves these models out. `audit_share` is about what an
    audit costs of what a training costs, for the time that is left.
    """

    name: str
    start: Json
    dataset: str
    test_dataset: str
    training: Json
    clean_training: Json
    audit: Json
    attacks: dict[str, Json] = field(default_factory=dict)
    seeds: tuple[int, ...] = (1,)
    more_seeds: tuple[int, ...] = ()
    matched_epsilon: float | None = None
    audit_share: float = 0.1
    networks: tuple[NetworkKey, ...] = tuple(NETWORKS)
    columns: tuple[Column, ...] = COLUMNS

    def attack(self, kind: str, **fields: float) -> Json:
        """The attack of that kind at this scale."""
        return {"kind": kind} | self.attacks.get(kind, {}) | fields


@dataclass(frozen=True)
class PlannedModel:
    """One model: how it is trained, and what it meets afterwards."""

    network: NetworkKey
    row: Row
    column: Column | None
    seed: int
    scale: Scale

    @property
    def attack(self) -> Json | None:
        """What it is trained on."""
        if self.column is None:
            return None
        if self.row == "matched":
            epsilon = self.scale.matched_epsilon
            assert epsilon is not None, "there are such models at this scale only"
            return self.scale.attack("pgd-linf", epsilon=epsilon, step_size=epsilon / 4)
        kinds = MULTIPLICATIVE if self.row == "mult" else ADDITIVE
        return self.scale.attack(kinds[self.column])

    @property
    def label(self) -> str:
        """Row and column in words that fit into a name."""
        return self.row if self.column is None else f"{self.row}-{self.column}"

    @cached_property
    def training(self) -> Json:
        """The body of `POST /v1/trainings`, with a name that stands for all the rest of it."""
        start = self.scale.start | {
            "arguments": network_arguments(self.network, self.scale.start["geometry"]["frames"])
        }
        body = self.scale.training | (self.scale.clean_training if self.column is None else {})
        body |= {"start": start, "dataset": self.scale.dataset, "attack": self.attack, "seed": self.seed}
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:8]
        name = f"table1-{self.scale.name}-{self.network}-{self.label}-s{self.seed}-{digest}"
        return body | {"name": name, "audit": False}

    @property
    def name(self) -> str:
        """What the model is registered as."""
        return str(self.training["name"])

    @property
    def audited_columns(self) -> tuple[Column, ...]:
        """The columns that it is a figure of: its own, or all of them for a clean model."""
        return self.scale.columns if self.column is None else (self.column,)

    @property
    def audit(self) -> Json:
        """The body of `POST /v1/audits`."""
        attacks = [self.scale.attack(MULTIPLICATIVE[column]) for column in self.audited_columns]
        attacks += [self.scale.attack(ADDITIVE[column]) for column in self.audited_columns]
        return self.scale.audit | {
            "models": [self.name],
            "dataset": self.scale.test_dataset,
            "attacks": attacks,
            # As the paper judges: by the last step.
            "early_stop": False,
            "checks": None,
            "examples": 0,
        }


def planned_models(scale: Scale) -> tuple[PlannedModel, ...]:
    """Every model of the table, those first that most wait for: the clean ones, then column by column."""
    models = [
        PlannedModel(network, "clean", None, seed, scale)
        for seed in scale.seeds
        for network in scale.networks
    ]
    for column in scale.columns:
        rows: tuple[Row, ...] = ("mult", "add")
        if column == "linf" and scale.matched_epsilon is not None:
            rows = (*rows, "matched")
        seeds = scale.seeds + (scale.more_seeds if column == "linf" else ())
        models += [
            PlannedModel(network, row, column, seed, scale)
            for seed in seeds
            for network in scale.networks
            for row in rows
        ]
    return tuple(models)
