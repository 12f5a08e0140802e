"""Checkpoints: safetensors files with the model's card inside. Nothing in them is ever executed."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

from models.architectures import build
from models.pixel_classifier import PixelClassifier
from multav.errors import BadCheckpoint
from multav.model_card import METADATA_KEY, ModelCard, card_of

_MOST_NAMED = 10


def save(classifier: PixelClassifier, path: Path | str, *, dtype: torch.dtype = torch.float16) -> None:
    """Write the classifier's weights and card to `path`; floating tensors are stored as `dtype`."""
    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in classifier.backbone.state_dict().items()
    }
    parameters = sum(parameter.numel() for parameter in classifier.backbone.parameters())
    card = ModelCard.model_validate({**classifier.card.model_dump(), "parameters": parameters})
    save_file(tensors, str(path), metadata={METADATA_KEY: card.model_dump_json()})


def load(source: Path | str | bytes) -> PixelClassifier:
    """The classifier in a file or in its bytes, in eval mode, float32, on the CPU.

    Raises `BadCheckpoint` when the bytes are not safetensors, hold no valid card, or hold tensors that are
    missing, unexpected, of a wrong shape or not finite (each is named).
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    card = card_of(data)
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"the checkpoint of {card.name!r} is damaged: {error}") from error
    backbone = build(card)
    expected = backbone.state_dict()
    faults = _faults(tensors, expected)
    if faults:
        raise BadCheckpoint(
            f"the checkpoint of {card.name!r} does not fit {card.architecture}: {'; '.join(faults)}"
        )
    backbone.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()})
    return PixelClassifier(backbone, card).eval()


def _faults(tensors: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> list[str]:
    """What is wrong with `tensors`, in words."""
    wrong_shape = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(expected[name].shape)}"
        for name in tensors.keys() & expected.keys()
        if tensors[name].shape != expected[name].shape
    ]
    not_finite = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    found = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "wrong shape": sorted(wrong_shape),
        "not finite": sorted(not_finite),
    }
    return [f"{fault}: {_named(names)}" for fault, names in found.items() if names]


def _named(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
