"""Models loaded once per worker process, the most recently used ones kept, by the SHA-256 of their bytes."""

from collections import OrderedDict

import torch

from models.checkpoints import load
from models.pixel_classifier import PixelClassifier
from multav.errors import Conflict
from store import blobs, models
from store.database import Database


class ModelCache:
    """Gives classifiers in eval mode with frozen parameters, on one device."""

    def __init__(self, database: Database, device: str, size: int) -> None:
        self._database = database
        self._device = device
        self._size = size
        self._loaded: OrderedDict[str, PixelClassifier] = OrderedDict()

    def get(self, name: str, sha256: str | None = None) -> PixelClassifier:
        """The registered model `name`. Raises `NotFound`, `BadCheckpoint`, and `Conflict` for another `sha256`."""
        with self._database.read() as session:
            registered = models.get(session, name)
        if sha256 is not None and registered.sha256 != sha256:
            raise Conflict(
                f"model {name!r} was replaced after this job was accepted (its checkpoint is now {registered.sha256}): "
                "post the job again"
            )
        classifier = self._loaded.pop(registered.sha256, None)
        if classifier is None:
            data = b"".join(blobs.read(self._database, registered.blob_id))
            classifier = load(data).to(self._device)
            classifier.requires_grad_(False)
            while len(self._loaded) >= self._size:
                self._loaded.popitem(last=False)
        self._loaded[registered.sha256] = classifier
        return classifier


def warm_up(classifier: PixelClassifier) -> None:
    """One forward and backward pass, so that the first job does not wait for kernels to be chosen and loaded."""
    geometry = classifier.geometry
    shape = (1, 3, geometry.frames, geometry.height, geometry.width)
    clips = torch.rand(shape, device=next(classifier.parameters()).device, requires_grad=True)
    torch.autograd.grad(classifier(clips).sum(), clips)
