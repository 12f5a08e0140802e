"""PGD from the clean clip as three other libraries have it, all called alike on clips (B, 3, T, H, W).

The libraries are imported when they are asked for, so that each can be missing. None of them needs torchvision for
these attacks: torchattacks asks for it when it is installed, but imports it nowhere.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

Attack = Callable[[Tensor, Tensor], Tensor]
"""Clips (B, 3, T, H, W) in [0, 1] and labels (B,) -> adversarial clips."""


@dataclass(frozen=True)
class Victim:
    """A network from clips of `shape` (3, T, H, W) to `classes` logits, on `device`."""

    network: nn.Module
    shape: tuple[int, ...]
    classes: int
    device: str = "cpu"


@dataclass(frozen=True)
class Setting:
    """PGD in one norm, without a random start."""

    norm: Literal["linf", "l2"]
    epsilon: float
    step_size: float
    steps: int


def torchattacks_pgd(victim: Victim, setting: Setting) -> Attack:
    """`torchattacks.PGD` or `torchattacks.PGDL2`.

    PGDL2 brings the norm of a sample into the shape (B, 1, 1, 1), which fits images only: it is handed the clips as
    images of 3 * T channels, which are the same numbers with the same norm, and the network unfolds them.
    """
    import torchattacks

    length, size, steps = setting.epsilon, setting.step_size, setting.steps
    if setting.norm == "linf":
        attack = torchattacks.PGD(victim.network, eps=length, alpha=size, steps=steps, random_start=False)
        return lambda clips, labels: attack(clips, labels)
    attack = torchattacks.PGDL2(
        FramesAsChannels(victim.network).eval(), eps=length, alpha=size, steps=steps, random_start=False
    )
    return lambda clips, labels: attack(clips.flatten(1, 2), labels).reshape(clips.shape)


class FramesAsChannels(nn.Module):
    """A network of clips as one of images (B, 3 * T, H, W).

    To be put in eval mode: torchattacks gives a model back in the mode in which it found the outermost module, and
    would leave the network in training mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the clips that the images are."""
        logits: Tensor = self.network(images.reshape(len(images), 3, -1, *images.shape[2:]))
        return logits


def foolbox_pgd(victim: Victim, setting: Setting) -> Attack:
    """`foolbox.attacks.LinfPGD` or `foolbox.attacks.L2PGD`; takes clips as they are.

    Its call also asks the network once more whether the result is adversarial.
    """
    with warnings.catch_warnings():
        # It imports a filter from where scipy no longer keeps it.
        warnings.filterwarnings("ignore", "Please import", DeprecationWarning)
        from foolbox import attacks, criteria
        from foolbox.models.pytorch import PyTorchModel

    model = PyTorchModel(victim.network, bounds=(0, 1), device=victim.device)
    kind = attacks.LinfPGD if setting.norm == "linf" else attacks.L2PGD
    attack = kind(abs_stepsize=setting.step_size, steps=setting.steps, random_start=False)

    def run(clips: Tensor, labels: Tensor) -> Tensor:
        criterion = criteria.Misclassification(labels)
        _, adversarial, _ = attack(model, clips, criterion, epsilons=setting.epsilon)
        crafted: Tensor = adversarial
        return crafted

    return run


def art_pgd(victim: Victim, setting: Setting) -> Attack:
    """ART's `ProjectedGradientDescentPyTorch`; takes clips as they are, in float32 only.

    Its call also asks the network twice more, about the clean and the adversarial clips, to log how many it fooled.
    """
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch import (
        ProjectedGradientDescentPyTorch,
    )
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        victim.network,
        loss=nn.CrossEntropyLoss(),
        input_shape=victim.shape,
        nb_classes=victim.classes,
        clip_values=(0.0, 1.0),
        device_type="cpu" if victim.device == "cpu" else "gpu",
    )
    attack = ProjectedGradientDescentPyTorch(
        classifier,
        norm="inf" if setting.norm == "linf" else 2,
        eps=setting.epsilon,
        eps_step=setting.step_size,
        max_iter=setting.steps,
        verbose=False,
    )

    def run(clips: Tensor, labels: Tensor) -> Tensor:
        made = attack.generate(clips.cpu().numpy(), labels.cpu().numpy())
        return torch.from_numpy(made).to(clips.device)

    return run


LIBRARIES: Final[dict[str, Callable[[Victim, Setting], Attack]]] = {
    "torchattacks": torchattacks_pgd,
    "foolbox": foolbox_pgd,
    "art": art_pgd,
}
"""By the name that is imported."""
