"""The clips of many videos in order, decoded ahead by a few processes while earlier ones are worked on."""

from collections.abc import Callable, Generator, Iterable
from typing import Protocol

from multav.datasets.clips import LoadedClip, load_clip
from multav.datasets.listing import ListedVideo
from multav.datasets.ordered_pool import in_order
from multav.datasets.recipes import Recipe
from multav.errors import BadVideo
from multav.geometry import InputGeometry
from multav.video.limits import Limits


class ClipSource(Protocol):
    """Where clips are kept, such as a `multav.datasets.clip_cache.ClipCache`."""

    def load(
        self,
        video: ListedVideo,
        geometry: InputGeometry,
        recipe: Recipe,
        limits: Limits | None = None,
        *,
        check: Callable[[], None] | None = None,
    ) -> LoadedClip:
        """As `load_clip`."""
        ...


def decode_ahead(
    videos: Iterable[ListedVideo],
    geometry: InputGeometry,
    recipe: Recipe,
    limits: Limits | None = None,
    *,
    cache: ClipSource | None = None,
    workers: int = 2,
    ahead: int = 8,
    check: Callable[[], None] | None = None,
) -> Generator[tuple[ListedVideo, LoadedClip | BadVideo], None, None]:
    """(video, its clip) for each of `videos`, in their order; where a video is bad, what is wrong with it.

    At most `workers` child processes decode at a time, and at most `ahead` clips are made or wait (each of up to
    `multav.datasets.clips.MOST_BYTES`). While a clip is waited for, `check` is called ten times a second, in the
    caller's thread; what it raises is raised here. Leaving early ends what is being decoded: close the generator, as
    `contextlib.closing` does. Errors that are not a video's (no memory, no descriptors) are raised.
    """

    def load(video: ListedVideo, unless_left: Callable[[], None]) -> LoadedClip | BadVideo:
        unless_left()
        try:
            if cache is None:
                return load_clip(video, geometry, recipe, limits, check=unless_left)
            return cache.load(video, geometry, recipe, limits, check=unless_left)
        except BadVideo as error:
            return error

    return in_order(videos, load, workers=workers, ahead=ahead, check=check)
