"""Which program wrote a checkpoint, as far as its outside tells. Torch-free."""

from typing import Literal

from models.recognised import Recognised

SourceFormat = Literal["multav", "safetensors", "hara-2018", "hara", "torchvision", "state-dict"]
"""Ours; bare safetensors; Hara's training code of 2018 and since 2019; torchvision; a state dict of anybody's."""


def source_format(
    found: Recognised | None, *, card: bool, safetensors: bool, data_parallel: bool, beside: frozenset[str]
) -> SourceFormat:
    """The format of a file by what was recognised in it and what lay beside its state dict.

    Hara's code saves the network's name as `arch` beside the state dict; since 2019 the scheduler too. In 2018 it saved
    the DataParallel wrapper, so every name begins with `module.` (but in files made for machines without a GPU).
    """
    if card:
        return "multav"
    if found is not None and found.family == "torchvision":
        return "torchvision"
    if found is not None and {"arch", "scheduler"} <= beside:
        return "hara"
    if found is not None and (data_parallel or "arch" in beside):
        return "hara-2018"
    return "safetensors" if safetensors else "state-dict"
