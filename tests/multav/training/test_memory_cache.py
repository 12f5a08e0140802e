"""Decoded clips in memory: the first that fit stay, and a clip is that of its own video."""

from collections.abc import Callable
from dataclasses import dataclass, field

from multav.datasets.clips import LoadedClip, load_clip
from multav.datasets.listing import ListedVideo
from multav.datasets.recipes import Recipe
from multav.geometry import InputGeometry
from multav.training.memory_cache import MemoryCache
from multav.video.limits import Limits
from tests.multav.training.small_trainings import GEOMETRY, noises

BYTES = 3 * 4 * 12 * 12


@dataclass
class Behind:
    """Loads, and remembers what."""

    loaded: list[str] = field(default_factory=list)

    def load(
        self,
        video: ListedVideo,
        geometry: InputGeometry,
        recipe: Recipe,
        limits: Limits | None = None,
        *,
        check: Callable[[], None] | None = None,
    ) -> LoadedClip:
        self.loaded.append(video.name)
        return load_clip(video, geometry, recipe, limits, check=check)


def test_the_first_that_fit_stay() -> None:
    behind = Behind()
    cache = MemoryCache(behind, 2 * BYTES + BYTES // 2)
    videos = noises(range(4))
    for _ in range(3):
        for video in videos:
            found = cache.load(video, GEOMETRY, "model")
            assert found.levels.equal(load_clip(video, GEOMETRY, "model").levels)
    assert behind.loaded == ["0", "1", "2", "3", "2", "3", "2", "3"]


def test_two_datasets_may_share_it() -> None:
    cache = MemoryCache(None, 10**6)
    one, other = noises(range(3)), noises(range(3), wild=True)
    for _ in range(2):
        for video in (*one, *other):
            assert cache.load(video, GEOMETRY, "model").levels.equal(
                load_clip(video, GEOMETRY, "model").levels
            )
