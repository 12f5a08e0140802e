"""What makes the clips of a training step adversarial: against the model as it is at that step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from multav.attacks.budget import with_budget
from multav.attacks.catalogue import AnyAttack
from multav.audits.logits import logits_of
from multav.clip_attack import craft
from multav.losses import divergence
from multav.training.batch_part import BatchPart
from multav.training.crafting_attacks import crafting_attacks
from multav.training.draws import first_sample, generator_of
from multav.training.request import Mixture, TrainingRequest

# A bound of nothing is no bound.
_SMALLEST_BUDGET = 1e-3


@dataclass(frozen=True)
class Adversary:
    """The attack of a training, over its `steps` steps."""

    request: TrainingRequest
    steps: int

    def craft(
        self,
        model: nn.Module,
        clips: Tensor,
        labels: Tensor,
        step: int,
        on_step: Callable[[int], None] | None = None,
        part: BatchPart | None = None,
    ) -> Tensor:
        """Adversarial clips (B, 3, T, H, W) for step number `step`; the share that is to stay clean stays.

        The clips are a `part` of the step's batch, or all of it.

        The model is attacked in eval mode with its weights of now and takes no parameter gradient; it is given back in
        the mode it was in (paper-facts E2). `on_step` is called before each step of an attack and may raise.
        """
        attacks = self.attacks_at(step)
        part = part or BatchPart.all_of(len(clips))
        clean = self.left_clean(part)
        first = first_sample(step) - self._left_clean_of_all(part)
        if not attacks or clean == len(clips):
            return clips
        answers = _answers(model, clips[clean:]) if self.request.crafts_by_divergence else None
        best: Tensor | None = None
        highest: Tensor | None = None
        for attack in attacks:
            made = craft(
                model,
                clips[clean:],
                labels[clean:] if answers is None else answers.argmax(1),
                attack,
                seed=self.request.seed,
                first_sample=[first + place for place in part.places[clean:]],
                precision=self.request.precision,
                on_step=on_step,
                # Several are compared by what they end with.
                look_at_end=len(attacks) > 1,
                away_from=answers,
            )
            # Not the attacks' own losses: those of different kinds cannot be compared.
            losses = (
                functional.cross_entropy(made.logits.float(), labels[clean:], reduction="none")
                if answers is None
                else divergence(made.logits.float(), answers)
            )
            if best is None or highest is None:
                best, highest = made.clips, losses
            else:
                worse = losses > highest
                best = torch.where(worse.reshape(-1, 1, 1, 1, 1), made.clips, best)
                highest = torch.where(worse, losses, highest)
        assert best is not None, "there is an attack"
        return torch.cat([clips[:clean], best]) if clean else best

    def left_clean(self, part: BatchPart) -> int:
        """How many clips of this part, from its first, are not attacked: the first ones of the whole batch."""
        return part.before(self._left_clean_of_all(part))

    def _left_clean_of_all(self, part: BatchPart) -> int:
        return round(self.request.clean_fraction * part.whole)

    def attacks_at(self, step: int) -> tuple[AnyAttack, ...]:
        """The attacks that step number `step` meets, with the budget that they have there."""
        attacks = self._attacks
        if isinstance(self.request.attack, Mixture) and self.request.attack.choice == "random":
            drawn = torch.randint(
                len(attacks), (), generator=generator_of(self.request.seed, "mixture", step)
            )
            attacks = (attacks[int(drawn)],)
        budget = self.budget_at(step)
        return attacks if budget == 1 else tuple(with_budget(attack, budget) for attack in attacks)

    def budget_at(self, step: int) -> float:
        """The share of bound and step size that step number `step` has."""
        rising = self.request.ramp * self.steps
        return 1.0 if step >= rising else max(_SMALLEST_BUDGET, step / rising)

    @cached_property
    def _attacks(self) -> tuple[AnyAttack, ...]:
        return crafting_attacks(self.request)


def _answers(model: nn.Module, clips: Tensor) -> Tensor:
    """What the model says of clean clips, as log-probabilities (B, classes)."""
    return logits_of(model, clips).float().log_softmax(1)
