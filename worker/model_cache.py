"""Models loaded once per worker process, the most recently used ones kept, by the SHA-256 of their bytes."""

from collections import OrderedDict

from models.checkpoints import load
from models.pixel_classifier import PixelClassifier
from store import blobs, models
from store.database import Database


class ModelCache:
    """Gives classifiers in eval mode with frozen parameters, on one device."""

    def __init__(self, database: Database, device: str, size: int) -> None:
        self._database = database
        self._device = device
        self._size = size
        self._loaded: OrderedDict[str, PixelClassifier] = OrderedDict()

    def get(self, name: str) -> PixelClassifier:
        """The registered model `name`. Raises `NotFound` and `BadCheckpoint`."""
        with self._database.read() as session:
            registered = models.get(session, name)
        classifier = self._loaded.pop(registered.sha256, None)
        if classifier is None:
            data = b"".join(blobs.read(self._database, registered.blob_id))
            classifier = load(data).to(self._device)
            classifier.requires_grad_(False)
            while len(self._loaded) >= self._size:
                self._loaded.popitem(last=False)
        self._loaded[registered.sha256] = classifier
        return classifier
