"""The channel in the loop: H.264 in memory is that of the file, and the best point that arrived is kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from multav import parse_attack
from multav.ascent import ascend
from multav.attack_request import AttackRequest
from multav.channel import Kept, Through
from multav.errors import InvalidSpec
from multav.objective import Evaluation
from multav.video.decode import decode
from multav.video.encode import encode
from multav.video.passage import through_h264


@pytest.mark.parametrize("size", [(64, 80), (63, 79)], ids=["even", "odd"])
@pytest.mark.parametrize("crf", [10, 30])
def test_the_passage_in_memory_is_that_of_the_file(tmp_path: Path, size: tuple[int, int], crf: int) -> None:
    generator = np.random.default_rng(3)
    canvas = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    pictures = np.stack([canvas[at : at + size[0], 2 * at : 2 * at + size[1]] for at in range(12)])
    path = tmp_path / "file.mp4"
    with encode(
        path, "h264-mp4", width=size[1], height=size[0], time_base="1/25", frame_rate=25, crf=crf
    ) as writer:
        for index, picture in enumerate(pictures):
            writer.write(picture, index)
    with decode(path) as frames:
        delivered = np.stack([frame.rgb for frame in frames])
    arrived = through_h264(pictures, crf=crf, frame_rate=25)
    assert (arrived == delivered).all()
    assert (arrived != pictures).any()


class Hill:
    """A loss that rises with the sum of what it sees, and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, clips: Tensor) -> Evaluation:
        losses, logits = self.score(clips)
        return Evaluation(losses, logits, torch.ones_like(clips))

    def score(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(clips.clone())
        losses = clips.flatten(1).sum(1)
        return losses, torch.stack([-losses, losses], 1)

    def fooled(self, logits: Tensor) -> Tensor:
        return logits.argmax(1) == 1

    def select(self, samples: Tensor) -> "Hill":  # noqa: ARG002
        return self


def test_the_best_point_that_arrived_is_kept_and_the_objective_sees_what_arrives() -> None:
    clips = torch.full((2, 3, 1, 2, 2), 0.5)
    hill, kept, calls = Hill(), Kept(targeted=False), []

    def channel(sent: Tensor) -> Tensor:
        # The third look is the clearest one.
        calls.append(sent.clone())
        return sent * (1.0 if len(calls) == 3 else 0.1)

    ascend(Through(hill, (channel,), kept), clips, parse_attack({"kind": "pgd-linf", "steps": 5}))
    assert kept.clips is not None
    assert kept.clips.equal(calls[2])
    assert kept.losses.equal(hill.seen[2].flatten(1).sum(1))
    assert hill.seen[1].equal(calls[1] * 0.1)


def test_samples_behind_a_channel_stay_together() -> None:
    with pytest.raises(ValueError, match="early_stop"):
        Through(Hill(), (lambda clips: clips,), Kept(targeted=False)).select(torch.tensor([0]))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"channel": "codec", "domain": "model_input"}, "/channel"),
        ({"channel_crf": [10]}, "/channel_crf"),
        ({"channel": "levels", "channel_crf": [10, 20]}, "/channel_crf"),
        ({"channel": "levels", "attack": {"kind": "apgd-ratio", "loss": "dlr-targeted"}}, "/attack/loss"),
        ({"attack": {"kind": "roa", "stride": 7}}, "/attack"),
        ({"attack": {"kind": "multav-roa", "candidates": 7, "placement": "exhaustive"}}, "/attack"),
        (
            {"channel": "levels", "attack": {"kind": "multav-linf", "early_stop": True}},
            "/attack/early_stop",
        ),
        (
            {"channel": "codec", "attack": {"kind": "pgd-linf", "restarts": 2, "random_start": True}},
            "/attack/restarts",
        ),
        ({"channel_crf": [52]}, "/channel_crf/0"),
        ({"channel_crf": []}, "/channel_crf"),
        ({"channel": "mp4"}, "/channel"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_named(body: dict[str, object], pointer: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        AttackRequest.parse(body)
    assert caught.value.errors[0]["pointer"] == pointer
