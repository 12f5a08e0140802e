"""Datasets that a worker process has listed, the most recently used ones kept."""

from collections import OrderedDict
from typing import Final

from multav.datasets.clip_cache import ClipCache
from multav.datasets.listing import Listing
from multav.errors import Conflict
from store import datasets
from store.database import Database
from store.dataset_files import dataset_folder
from store.settings import Settings

_KEPT: Final = 2


class DatasetCache:
    """Listings of registered datasets, and the decoded clips that this machine keeps."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._listed: OrderedDict[str, Listing] = OrderedDict()
        self.clips = (
            ClipCache(settings.data_dir / "clips", settings.clip_cache_bytes)
            if settings.clip_cache_bytes
            else None
        )

    def get(self, name: str, sha256: str | None = None) -> Listing:
        """What the registered dataset `name` lists.

        Raises `NotFound`, `BadDataset`, and `Conflict` when it is another one than `sha256`.
        """
        with self._database.read() as session:
            found = datasets.get(session, name)
        if sha256 not in (None, found.sha256):
            raise Conflict(
                f"dataset {name!r} was replaced after this job was accepted (it now has the SHA-256 {found.sha256}): "
                "post the job again"
            )
        listing = self._listed.pop(found.sha256, None)
        if listing is None:
            listing = datasets.listing_of(found, dataset_folder(self._database, self._settings, found))
        self._listed[found.sha256] = listing
        while len(self._listed) > _KEPT:
            self._listed.popitem(last=False)
        return listing
