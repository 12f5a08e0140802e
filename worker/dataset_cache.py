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
_Place = tuple[str, str | None, str | None, str]
"""Name, folder, archive and SHA-256: the same names and labels may belong to other bytes elsewhere."""


class DatasetCache:
    """Listings of registered datasets, and the decoded clips that this machine keeps."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._listed: OrderedDict[_Place, Listing] = OrderedDict()
        self.clips = (
            ClipCache(settings.data_dir / "clips", settings.clip_cache_bytes)
            if settings.clip_cache_bytes
            else None
        )

    def get(self, name: str, sha256: str | None = None, *, anew: bool = False) -> Listing:
        """What the registered dataset `name` lists; with `anew` as its folder is now, else perhaps as it was before.

        Raises `NotFound`, `BadDataset`, and `Conflict` when it is another one than `sha256`, or its folder lists
        something else than what was registered.
        """
        with self._database.read() as session:
            found = datasets.get(session, name)
        if sha256 not in (None, found.sha256):
            raise Conflict(
                f"dataset {name!r} was replaced after this job was accepted (it now has the SHA-256 {found.sha256}): "
                "post the job again"
            )
        place = (found.name, found.root, found.blob_id, found.sha256)
        listing = self._listed.pop(place, None)
        if listing is None or anew:
            listing = datasets.listing_of(found, dataset_folder(self._database, self._settings, found))
        self._listed[place] = listing
        while len(self._listed) > _KEPT:
            self._listed.popitem(last=False)
        return listing

    def refuse_gone(self, name: str) -> None:
        """Raise `BadDataset` where the folder of the registered dataset `name` is not there, or is empty by now.

        To be asked where a file of it cannot be read: is it the file, or its whole disk?
        """
        with self._database.read() as session:
            found = datasets.get(session, name)
        dataset_folder(self._database, self._settings, found)
