"""The weakest attacker: noise as large as the bound allows, drawn without a look at the model, the best of a few."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multav.attacks.regions import origin
from multav.attacks.spec import AttackSpec
from multav.audits.logits import logits_of
from multav.pieces import move
from multav.randomness import Draws


@dataclass(frozen=True)
class Tried:
    """What an attacker without gradients reached.

    `clips` (B, 3, T, H, W) and their `logits` (B, classes): of each clip the try with the smallest margin of its label
    over the best other class. `queries` int64 (B,): how many predictions were asked for.
    """

    clips: Tensor
    logits: Tensor
    queries: Tensor


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """How far each label's logit is above the best other (B,); at or below 0 the model is fooled, or about to be."""
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def noise_attack(
    model: nn.Module,
    clips: Tensor,
    labels: Tensor,
    attack: AttackSpec,
    *,
    mask: Tensor | None = None,
    draws: int = 10,
    seed: int = 0,
    first_sample: int | Sequence[int] = 0,
    on_step: Callable[[int], None] | None = None,
) -> Tried:
    """Random noise of the size of `attack`'s bound, `draws` times.

    `clips` (B, 3, T, H, W) float in [0, 1], `labels` int64 (B,). `mask` bool (B, 1, T, H, W) is the region of the
    attack that it is compared with; None means everywhere. Under an l-inf bound every value goes to one end of it by
    the toss of a coin, the largest noise there is; under an l2 bound the noise lies on the sphere. Sample numbers are
    those of `multav.craft`; the noise of its random starts is other noise. `on_step` is called before each draw and
    may raise.
    Raises `ValueError` for no draws.
    """
    if draws < 1:
        raise ValueError(f"{draws} draws of noise are none: at least 1 is needed")
    draw = Draws(clips, seed=_apart(seed), first_sample=first_sample)
    centre = origin(attack.region, clips, mask)
    queries = torch.full((len(clips),), draws, dtype=torch.int64, device=clips.device)
    found: Tried | None = None
    for number in range(draws):
        if on_step is not None:
            on_step(number)
        noise = draw.noise()
        if attack.ball.name == "linf":
            noise = noise.sign_()
        noisy = centre.clone()
        move(attack, attack.scatter, noisy, noise, centre, mask)
        tried = Tried(noisy, logits_of(model, noisy), queries)
        found = tried if found is None else _nearer(found, tried, labels)
    assert found is not None, "there is at least one draw"
    return found


def _nearer(one: Tried, other: Tried, labels: Tensor) -> Tried:
    """Of each clip the try with the smaller margin."""
    wins = margins(other.logits, labels) < margins(one.logits, labels)
    return Tried(
        torch.where(wins.reshape(-1, 1, 1, 1, 1), other.clips, one.clips),
        torch.where(wins[:, None], other.logits, one.logits),
        one.queries,
    )


def _apart(seed: int) -> int:
    """A seed for noise that is not the noise of a random start."""
    return seed + 0x6E6F6973
