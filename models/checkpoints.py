"""Checkpoints: safetensors files with the model's card inside. Nothing in them is ever executed."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file

from models.architectures import build
from models.pixel_classifier import PixelClassifier
from models.tensor_faults import tensor_faults
from multav.errors import BadCheckpoint
from multav.model_card import METADATA_KEY, ModelCard, card_of, read_card


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

    A file is mapped, not read: memory holds the network and nothing else. Raises `BadCheckpoint` when the bytes are not
    safetensors, hold no valid card, or hold tensors that are missing, unexpected, of a wrong shape or not finite (each
    is named).
    """
    card = card_of(source) if isinstance(source, bytes) else read_card(Path(source))
    try:
        tensors = load_tensors(source) if isinstance(source, bytes) else load_file(source)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"the checkpoint of {card.name!r} is damaged: {error}") from error
    backbone = build(card)
    faults = tensor_faults(tensors, backbone.state_dict())
    if faults:
        raise BadCheckpoint(
            f"the checkpoint of {card.name!r} does not fit {card.architecture}: {'; '.join(faults)}"
        )
    # Converts each tensor as it copies it; a converted dictionary would be the network a second time.
    backbone.load_state_dict(tensors)
    return PixelClassifier(backbone, card).eval()
