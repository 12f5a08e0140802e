"""Holm's correction for asking many questions at once."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Step-down adjusted p-values, in the order given (Holm 1979).

    The smallest of m p-values is multiplied by m, the next by m - 1, and so on, never falling below one before it. To
    call a question answered where its adjusted value is below 0.05 is wrong about any of them with a chance of at most
    5 %, however the questions depend on each other. Raises `ValueError` for a value outside [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError("a p-value lies in [0, 1]")
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
