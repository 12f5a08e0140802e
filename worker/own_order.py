"""The order of a training on many devices, as the machine of this worker carries out its part of it."""

from typing import TYPE_CHECKING

import torch

from multav.training.request import TrainingRequest
from multav.training.videos import TrainingVideos, training_videos
from worker.training_order import TrainingOrder

if TYPE_CHECKING:
    from worker.process import WorkerProcess


def videos_of(request: TrainingRequest, process: "WorkerProcess") -> TrainingVideos:
    """What is trained on and looked at, as the folders are now: what was listed before may have changed.

    Raises as `DatasetCache.get`, and `InvalidSpec` where the videos cannot be divided.
    """
    get = process.datasets.get
    listing = get(request.dataset, request.dataset_sha256, anew=True)
    looked_at = request.validation
    validation = (
        None if looked_at.dataset is None else get(looked_at.dataset, looked_at.dataset_sha256, anew=True)
    )
    return training_videos(request, listing, validation)


def own_order(
    request: TrainingRequest, videos: TrainingVideos, process: "WorkerProcess", *, leads: bool
) -> TrainingOrder:
    """What this machine's ranks are told; `leads` where this worker has the job."""
    settings, clips = process.settings, process.datasets.clips
    return TrainingOrder(
        request=request,
        videos=videos,
        limits=settings.video_limits(),
        clips=None if clips is None else (str(clips.folder), clips.max_bytes),
        decoders=settings.decoders,
        cuda=process.device.startswith("cuda"),
        threads=max(1, torch.get_num_threads() * request.hosts // request.devices),
        leads=leads,
    )
