"""Decoded clips in memory, before those on disk: an epoch later they are wanted again."""

import threading
from collections.abc import Callable

from multav.datasets.clips import LoadedClip, load_clip
from multav.datasets.decode_ahead import ClipSource
from multav.datasets.listing import ListedVideo
from multav.datasets.recipes import Recipe
from multav.geometry import InputGeometry
from multav.video.limits import Limits


class MemoryCache:
    """Up to `max_bytes` of clips of one dataset, geometry and recipe, by place in the listing; the first ones stay.

    All are wanted once an epoch: to let go of one for another would only move the gap.
    """

    def __init__(self, behind: ClipSource | None, max_bytes: int) -> None:
        self._behind, self._left = behind, max_bytes
        self._kept: dict[ListedVideo, LoadedClip] = {}
        self._lock = threading.Lock()

    def load(
        self,
        video: ListedVideo,
        geometry: InputGeometry,
        recipe: Recipe,
        limits: Limits | None = None,
        *,
        check: Callable[[], None] | None = None,
    ) -> LoadedClip:
        """See `ClipCache.load`."""
        with self._lock:
            kept = self._kept.get(video)
        if kept is not None:
            return kept
        load = load_clip if self._behind is None else self._behind.load
        loaded = load(video, geometry, recipe, limits, check=check)
        with self._lock:
            if video not in self._kept and self._left >= loaded.levels.nbytes:
                self._kept[video] = loaded
                self._left -= loaded.levels.nbytes
        return loaded
