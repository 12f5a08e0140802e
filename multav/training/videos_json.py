"""The videos of a training as JSON, for a process that lists nothing itself. Torch-free."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from multav.datasets.listing import ListedVideo
from multav.datasets.made_video import MadeVideo
from multav.datasets.synthetic import CameraMotionClip
from multav.training.videos import TrainingVideos


def to_json(videos: TrainingVideos) -> dict[str, Any]:
    """What `from_json` makes the same videos of."""
    return {
        "classes": list(videos.classes),
        "train": [_video_to_json(video) for video in videos.train],
        "validation": [_video_to_json(video) for video in videos.validation],
        "chosen_on": videos.chosen_on,
    }


def from_json(told: dict[str, Any]) -> TrainingVideos:
    """The videos that `to_json` was given."""
    return TrainingVideos(
        classes=tuple(told["classes"]),
        train=tuple(map(_video_from_json, told["train"])),
        validation=tuple(map(_video_from_json, told["validation"])),
        chosen_on=told["chosen_on"],
    )


def _video_to_json(video: ListedVideo) -> dict[str, Any]:
    if isinstance(video, MadeVideo) and not isinstance(video, CameraMotionClip):
        raise TypeError(f"{type(video).__name__} is made by a formula that other processes do not know")
    return asdict(video) | {"path": None if video.path is None else str(video.path)}


def _video_from_json(told: dict[str, Any]) -> ListedVideo:
    fields = told | {"path": None if told["path"] is None else Path(told["path"])}
    return CameraMotionClip(**fields) if "seed" in fields else ListedVideo(**fields)
