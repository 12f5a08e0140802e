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
from multav.pieces import move
from multav.randomness import Draws
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
        rows = self.attacked(part)
        if not attacks or not rows:
            return clips
        attacked, classes = (clips, labels) if len(rows) == len(clips) else (clips[rows], labels[rows])
        answers = _answers(model, attacked) if self.request.crafts_by_divergence else None
        best: Tensor | None = None
        highest: Tensor | None = None
        for attack in attacks:
            made = craft(
                model,
                attacked,
                classes if answers is None else answers.argmax(1),
                attack,
                seed=self.request.seed,
                first_sample=[first_sample(step) + part.places[row] for row in rows],
                precision=self.request.precision,
                on_step=on_step,
                # Several are compared by what they end with.
                look_at_end=len(attacks) > 1,
                away_from=answers,
            )
            # Not the attacks' own losses: those of different kinds cannot be compared.
            losses = (
                functional.cross_entropy(made.logits.float(), classes, reduction="none")
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
        if len(rows) == len(clips):
            return best
        return clips.index_copy(0, torch.tensor(rows, device=clips.device), best)

    def anywhere(self, clips: Tensor, step: int, part: BatchPart) -> Tensor:
        """The clips, each at a random point of the one attack's bound at step number `step`; clean ones stay."""
        (attack,) = self.attacks_at(step)
        numbers = [first_sample(step) + place for place in part.places]
        noise = Draws(clips, seed=self.request.seed, first_sample=numbers).noise()
        adversarial = clips.clone()
        move(attack, attack.scatter, adversarial, noise, clips, None)
        return self.but_for_clean(clips, adversarial, part)

    def but_for_clean(self, clips: Tensor, adversarial: Tensor, part: BatchPart) -> Tensor:
        """The adversarial version of the clips that are attacked, and the others as they are."""
        rows = self.attacked(part)
        if len(rows) == len(clips):
            return adversarial
        attacked = torch.tensor(rows, dtype=torch.int64, device=clips.device)
        return clips.index_copy(0, attacked, adversarial[attacked])

    def attacked(self, part: BatchPart) -> list[int]:
        """Which of this part's clips, by their rows, are attacked.

        Those that stay clean lie evenly in the whole batch, so that each of its pieces has its share of them: batch
        norm is to see the mixture.
        """
        whole, clean = part.whole, round(self.request.clean_fraction * part.whole)
        return [
            row
            for row, place in enumerate(part.places)
            if (place + 1) * clean // whole == place * clean // whole
        ]

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
