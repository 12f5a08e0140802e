"""What a file is, before anything else is done with it."""

from pathlib import Path

from multav.video.decode import opened
from multav.video.info import VideoInfo
from multav.video.limits import Limits


def probe(path: Path | str, limits: Limits | None = None) -> VideoInfo:
    """Open the video at `path` in a bounded child and decode its first frame.

    Raises `NotAVideo`, `UndecodableVideo`, `NoFrames` or `VideoTooLarge`. Frames and seconds are not counted
    here (the container's claim is only reported); `decode` counts.
    """
    limits = limits or Limits()
    short = limits.model_copy(
        update={
            "wall_seconds": min(limits.wall_seconds, limits.probe_seconds),
            "stall_seconds": min(limits.stall_seconds, limits.probe_seconds),
            "cpu_seconds": min(limits.cpu_seconds, max(1, round(limits.probe_seconds))),
        }
    )
    with opened(path, short, task="probe") as frames:
        return frames.info
