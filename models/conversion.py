"""A checkpoint of unknown origin becomes one of ours: recognised, compared name by name, tried, written as safetensors.

Runs in the bounded child of `check_in`.
"""

from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from models.architectures import build
from models.counts import counts
from models.pixel_classifier import PixelClassifier
from models.recognised import recognised
from models.settled_card import Findings, settled_card
from models.smoke_test import smoke_test
from models.source_checkpoint import SourceCheckpoint, read_source
from models.source_format import source_format
from models.tensor_faults import tensor_faults
from multav.errors import BadCheckpoint
from multav.model_card import METADATA_KEY, ModelCard
from multav.model_upload import ModelUpload

_COUNTERS: Final = ".num_batches_tracked"
_KEPT: Final = (torch.float16, torch.bfloat16, torch.float32)
"""Types of weights that are stored as they came; others become float32."""


def converted(path: Path, message: dict[str, Any], *, max_values: int) -> bytes:
    """The file at `path` as a safetensors checkpoint with its card.

    `message` holds the `upload` (JSON of `ModelUpload`), `file_name` and `source_sha256`. Raises `BadCheckpoint` and
    `InvalidSpec`.
    """
    source = read_source(path, max_values=max_values)
    card = _settled(source, ModelUpload.model_validate(message["upload"]), message)
    tensors, card = _fitted(source, card)
    backbone = build(card)
    expected = backbone.state_dict()
    backbone.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()})
    classifier = PixelClassifier(backbone, card).eval()
    report = smoke_test(classifier)
    if not report.passed:
        raise BadCheckpoint(f"the network cannot be attacked: {'; '.join(report.faults)}")
    final = ModelCard.model_validate(
        card.model_dump()
        | {
            "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
            "macs": _macs(backbone, card),
            "smoke": report.as_dict(),
        }
    )
    return safetensors_bytes(tensors, metadata={METADATA_KEY: final.model_dump_json()})


def _settled(source: SourceCheckpoint, upload: ModelUpload, message: dict[str, Any]) -> ModelCard:
    found = None if source.card is not None else recognised(source.shapes)
    said = found.refuse_other_name(source.arch) if found is not None else None
    form = source_format(
        found,
        card=source.card is not None,
        safetensors=source.safetensors,
        data_parallel=source.data_parallel,
        beside=source.beside,
    )
    last = source.shapes.get("fc.weight", ())
    card = settled_card(
        upload,
        Findings(
            file_name=message["file_name"],
            source_sha256=message["source_sha256"],
            form=form,
            classes=last[0] if last else None,
            recognised=found,
            card=source.card,
        ),
    )
    ignored = sorted(source.beside - {"arch"})
    more = [
        *([f"{said}."] if said else []),
        *(["The prefix module. of DataParallel was taken off every name."] if source.data_parallel else []),
        *([f"Beside the weights the file held {', '.join(ignored[:10])}: left out."] if ignored else []),
    ]
    return ModelCard.model_validate(card.model_dump() | {"assumed": (*card.assumed, *more)})


def _fitted(source: SourceCheckpoint, card: ModelCard) -> tuple[dict[str, Tensor], ModelCard]:
    """The tensors as they are stored, and the card, once every name and shape was compared with the network's.

    Raises `BadCheckpoint` naming what is missing, unexpected, of a wrong shape or not finite.
    """
    expected = _expected(card)
    given = dict(source.tensors)
    counters = [name for name in expected if name.endswith(_COUNTERS)]
    absent = [name for name in counters if name not in given]
    if len(absent) == len(counters) and absent:
        # Batch norms of torch before 0.4.1 did not count batches; nothing in eval mode does.
        given |= {name: torch.zeros((), dtype=torch.int64) for name in absent}
        note = "The file is of a torch before 0.4.1: its batch norms hold no num_batches_tracked, which was set to 0."
        card = ModelCard.model_validate(card.model_dump() | {"assumed": (*card.assumed, note)})
    faults = tensor_faults(given, expected)
    if faults:
        raise BadCheckpoint(
            f"the tensors do not fit {card.architecture} {card.arguments}: {'; '.join(faults)}"
        )
    return {name: _stored(given[name], expected[name]) for name in expected}, card


def _expected(card: ModelCard) -> dict[str, Tensor]:
    """Names and shapes of the network that `card` describes, without memory for its values."""
    try:
        with torch.device("meta"):
            return build(card).state_dict()
    except (RuntimeError, ArithmeticError, LookupError, AttributeError) as error:
        # Arguments of a card come from the file; what a builder does not look at may fail in torch.
        raise BadCheckpoint(f"{card.architecture} cannot be built with {card.arguments}: {error}") from error


def _stored(tensor: Tensor, expected: Tensor) -> Tensor:
    """A tensor of its own, in the type that is stored."""
    dtype = expected.dtype
    if dtype.is_floating_point and tensor.dtype in _KEPT:
        dtype = tensor.dtype
    # Two names may share one storage in the file; safetensors takes no shared memory.
    return tensor.to(dtype=dtype, copy=True, memory_format=torch.contiguous_format).contiguous()


def _macs(backbone: torch.nn.Module, card: ModelCard) -> int:
    """Multiply-adds of one clip, those of attention too."""
    shape = card.geometry
    counted = counts(backbone, (1, 3, shape.frames, shape.height, shape.width))
    return counted.multiply_adds + counted.attention_multiply_adds
