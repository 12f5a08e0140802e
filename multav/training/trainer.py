"""One step after another: crafts, descends, averages. Everything that a step changes is `Trainer.state`.

What a step draws depends on the seed and its number alone, so that a trainer that is given the state of another goes
on exactly as that one would have.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from multav.attacks.fixed_step_attack import FixedStepAttack
from multav.errors import OutOfMemory
from multav.free_memory import was_refused
from multav.pieces import move
from multav.precision import gradient_type
from multav.training.adversary import Adversary
from multav.training.augmentation import augmented
from multav.training.average import Average
from multav.training.batch_part import BatchPart
from multav.training.draws import generator_of, seed_of
from multav.training.losses import correct, loss_of_chance, training_loss
from multav.training.optimisers import Sgd, rate_share
from multav.training.ranks import Ranks
from multav.training.request import TrainingRequest
from multav.training.watch import Watch

_FEWEST_CLIPS: Final = 2
"""Of a piece: batch statistics of one clip say little."""


@dataclass(frozen=True)
class Stepped:
    """What a step saw: the mean loss, the share of clips read right, and figures of the optimiser."""

    loss: float
    accuracy: float
    learning_rate: float
    gradient_norm: float


class Trainer:
    """Trains `model` (pixels in [0, 1] to logits) in place, in float32 weights, on the device that it is on.

    A training takes `steps` steps, `steps_per_epoch` of them to an epoch. `check` is called before each step of an
    attack and may raise; nothing of a step has been done then that `state` does not know. Between the replays of free
    training, whose perturbation is no part of the state, it is not called. Of several `ranks` each has a trainer, is
    given its part of every batch, and ends each step with the same state.
    """

    def __init__(
        self,
        model: nn.Module,
        request: TrainingRequest,
        *,
        steps: int,
        steps_per_epoch: int,
        check: Callable[[], None] = lambda: None,
        ranks: Ranks | None = None,
    ) -> None:
        self.model, self.request, self.steps = model, request, steps
        self.step = 0
        self.pieces = request.accumulation
        self.average = None if request.average is None else Average(model, request.average)
        self._steps_per_epoch = steps_per_epoch
        self._check = check
        self._ranks = ranks or Ranks()
        self._adversary = Adversary(request, steps)
        self._watch = Watch()
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._optimiser = _optimiser(request, self._parameters)
        self._device = self._parameters[0].device
        model.eval()
        self._network = self._ranks.network(model)

    def train_on(self, clips: Tensor, labels: Tensor, part: BatchPart | None = None) -> list[Stepped]:
        """The steps of one batch: clips (B, 3, T, H, W) float32 in [0, 1] and labels int64 (B,), on the model's device.

        They are a `part` of the batch that all ranks train on, or all of it.

        One step, or with free training as many as there are replays. Raises what `check` raises, `TrainingDiverged`,
        and `OutOfMemory` where not even pieces of two clips fit.
        """
        part = part or BatchPart.all_of(len(clips))
        clips = augmented(
            clips,
            self.request.augmentation,
            generator_of(self.request.seed, "augmentation", self.step),
            places=part.places,
            whole=part.whole,
        )
        if self.request.method == "free":
            return self._replays(clips, labels, part)

        def crafted() -> tuple[Tensor, None]:
            made = self._adversary.craft(self.model, clips, labels, self.step, lambda _: self._check(), part)
            return made, None

        adversarial, _ = self._ranks.together(crafted)
        return [self._descend(clips, adversarial, labels, part)]

    def skip(self, steps: int) -> None:
        """Count steps for which there were no clips."""
        self.step = min(self.steps, self.step + steps)

    @property
    def doubtful(self) -> bool:
        """Whether the last step was one of those that may end in `TrainingDiverged`."""
        return self._watch.doubtful

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and the rest as JSON. The tensors are those in use, not copies."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        for number, kept in self._optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimiser/{number}/{key}": value for key, value in kept.items() if value is not None
            }
        return tensors, {"step": self.step, "pieces": self.pieces, "watch": self._watch.state()}

    def restore(self, tensors: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Go on from a `state`, which may lie on another device."""
        self.model.load_state_dict(_under("model/", tensors))
        if self.average is not None:
            self.average.load(_under("average/", tensors))
        kept: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimiser/", tensors).items():
            number, _, key = name.partition("/")
            kept.setdefault(int(number), {})[key] = tensor.clone()
        self._optimiser.load_state_dict(self._optimiser.state_dict() | {"state": kept})
        self.step, self.pieces = rest["step"], rest["pieces"]
        self._watch = Watch(**rest["watch"])

    def _descend(self, clean: Tensor, adversarial: Tensor, labels: Tensor, part: BatchPart) -> Stepped:
        """One step of the optimiser, in as many pieces as memory asks for."""
        while True:
            before = [buffer.clone() for buffer in self.model.buffers()]
            try:
                loss, right, classes = self._accumulate(clean, adversarial, labels, part)
                break
            except (RuntimeError, MemoryError) as error:
                if not was_refused(error):
                    raise
                self._refuse_if_shared(part)
                # What a piece has done already must not count twice.
                for buffer, value in zip(self.model.buffers(), before, strict=True):
                    buffer.copy_(value)
                self._smaller_pieces(part)
        _, all_told = self._ranks.together(lambda: (None, (loss, right)))
        loss, right = (sum(each[place] for each in all_told) for place in (0, 1))
        return self._stepped(loss, right, part.whole, classes)

    def _refuse_if_shared(self, part: BatchPart) -> None:
        """Ranks that wait for this one cannot begin the step again."""
        if self._ranks.size == 1:
            return
        pieces = self._pieces_of(part)
        raise OutOfMemory(
            f"a piece of {_largest(pieces)} clips does not fit into the memory of one of {self._ranks.size} devices: "
            f"take more than {len(pieces)} for accumulation, a smaller batch_size or smaller clips"
        )

    def _smaller_pieces(self, part: BatchPart) -> None:
        pieces, most = self._pieces_of(part), part.whole // _FEWEST_CLIPS
        if len(pieces) >= most:
            raise OutOfMemory(
                f"a piece of {_largest(pieces)} clips does not fit into memory: take smaller clips or a smaller "
                "network"
            )
        self.pieces = min(2 * len(pieces), most)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _pieces_of(self, part: BatchPart) -> list[slice]:
        """The pieces that clips are taken in: bad videos may leave too few for all."""
        return part.pieces(min(self.pieces, part.whole // _FEWEST_CLIPS))

    def _accumulate(
        self, clean: Tensor, adversarial: Tensor, labels: Tensor, batch: BatchPart
    ) -> tuple[float, int, int]:
        """Gradients of the whole batch's mean loss by the weights; this part's share of it, how many clips are read
        right, and of how many classes.
        """
        self._optimiser.zero_grad()
        adversarial.grad = None
        loss, right, classes = 0.0, 0, 0
        with self._training():
            pieces = self._pieces_of(batch)
            for number, part in enumerate(pieces, 1):
                with self._gathering(last=number == len(pieces)):
                    with self._precision():
                        losses, logits = training_loss(
                            self._network, clean[part], adversarial[part], labels[part], self.request
                        )
                    share = losses.sum() / batch.whole
                    # Gradients of several ranks are averaged, where their sum is wanted.
                    (share * self._ranks.size).backward()  # type: ignore[no-untyped-call]
                loss += float(share.detach())
                right += correct(logits, labels[part])
                classes = logits.shape[1]
        return loss, right, classes

    def _gathering(self, *, last: bool) -> AbstractContextManager[Any]:
        """Ranks exchange the gradients of all pieces with the last of them."""
        if last or not isinstance(self._network, DistributedDataParallel):
            return nullcontext()
        return self._network.no_sync()

    def _replays(self, clips: Tensor, labels: Tensor, part: BatchPart) -> list[Stepped]:
        """Free training (Shafahi et al., 2019): the gradient by the clips comes with that by the weights.

        Its authors begin with the perturbation of the batch before. Here each batch begins at random points of the
        bound, as fast training does (Wong, Rice & Kolter, 2020), so that it needs nothing of the one before: that may
        be with other ranks, and a checkpoint would be larger by a batch.
        """
        found: list[Stepped] = []
        adversarial = self._adversary.anywhere(clips, self.step, part)
        end = min(self.steps, self.step + self.request.replays)
        while True:
            leaf = adversarial.detach().requires_grad_()
            found.append(self._descend(clips, leaf, labels, part))
            if self.step == end:
                return found
            assert leaf.grad is not None, "the loss depends on the clips"
            (attack,) = self._adversary.attacks_at(self.step)
            assert isinstance(attack, FixedStepAttack), "the request says so"
            moved = adversarial.clone()
            move(attack, attack.step, moved, leaf.grad.contiguous(), clips, None)
            adversarial = self._adversary.but_for_clean(clips, moved, part)

    def _stepped(self, loss: float, right: int, clips: int, classes: int) -> Stepped:
        limit = self.request.gradient_norm
        norm = nn.utils.clip_grad_norm_(self._parameters, torch.inf if limit is None else limit)
        self._watch.look(self.step, loss, float(norm), loss_of_chance(classes, self.request))
        share = rate_share(
            self.request.schedule, self.step, steps=self.steps, steps_per_epoch=self._steps_per_epoch
        )
        rate = self.request.optimiser.learning_rate * share
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad()
        if self.average is not None:
            self.average.update(self.model, self.step)
        self.step += 1
        return Stepped(loss, right / clips, rate, float(norm))

    def _training(self) -> "_Training":
        devices = [self._device.index or 0] if self._device.type == "cuda" else []
        # What ranks draw for their own clips differs.
        seed = seed_of(self.request.seed, "network", self.step) ^ self._ranks.rank
        return _Training(self._network, devices, seed)

    def _precision(self) -> AbstractContextManager[Any]:
        dtype = gradient_type(self.request.precision, self._device)
        return torch.autocast(self._device.type, dtype=dtype, enabled=dtype is not None)


class _Training:
    """The model in train mode, and what it draws itself (dropout) from a seed of the step; back to eval mode after."""

    def __init__(self, model: nn.Module, devices: list[int], seed: int) -> None:
        self._model, self._seed = model, seed
        self._fork = torch.random.fork_rng(devices)

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)
        self._model.train()

    def __exit__(self, *failure: Any) -> None:
        self._model.eval()
        self._fork.__exit__(*failure)


def _optimiser(request: TrainingRequest, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    how = request.optimiser
    if isinstance(how, Sgd):
        return torch.optim.SGD(
            parameters,
            lr=how.learning_rate,
            momentum=how.momentum,
            weight_decay=how.weight_decay,
            nesterov=how.nesterov,
        )
    return torch.optim.AdamW(parameters, lr=how.learning_rate, weight_decay=how.weight_decay)


def _largest(pieces: list[slice]) -> int:
    """Clips of the largest piece."""
    return max(int(piece.stop - piece.start) for piece in pieces)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
