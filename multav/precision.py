"""Which arithmetic the gradients of an attack are computed in."""

from typing import Literal, get_args

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def gradient_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """bfloat16, or None for the model's own.

    `auto` means bfloat16 where the processor multiplies it natively: attacks need the direction of a gradient, not
    its last digits. What a result says is always computed in the model's own precision. Raises `ValueError`.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision {precision!r} is not one of {', '.join(get_args(Precision))}")
    if precision == "bfloat16" or (precision == "auto" and _multiplies_bfloat16(device)):
        return torch.bfloat16
    return None


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False
