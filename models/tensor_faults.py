"""What keeps named tensors from being a network's, in words."""

from collections.abc import Mapping

from torch import Tensor

_MOST_NAMED = 10


def tensor_faults(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Missing, unexpected, of a wrong shape, of a wrong kind, not finite: each with its names; empty if all fit.

    `expected` may be on the meta device. Values are only looked at where names and shapes fit.
    """
    shared = sorted(tensors.keys() & expected.keys())
    wrong_shape = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(expected[name].shape)}"
        for name in shared
        if tensors[name].shape != expected[name].shape
    ]
    wrong_kind = [
        f"{name} is {tensors[name].dtype}, not {expected[name].dtype}"
        for name in shared
        if tensors[name].is_floating_point() != expected[name].is_floating_point()
    ]
    found = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "wrong shape": wrong_shape,
        "wrong type": wrong_kind,
    }
    if not any(found.values()):
        found["not finite"] = [name for name in shared if not _finite(tensors[name], expected[name])]
    return [f"{fault}: {_named(names)}" for fault, names in found.items() if names]


def _finite(tensor: Tensor, expected: Tensor) -> bool:
    """Finite, and still so in the type that it is computed in."""
    return bool(tensor.to(expected.dtype).isfinite().all())


def _named(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
