"""Models loaded once per worker process, the most recently used ones kept, by the SHA-256 of their bytes.

A checkpoint comes out of the store in chunks into a file of this process's own, and its SHA-256 is taken on the way:
no disk is shared, no half-written file is ever opened, and memory holds the network alone.
"""

import hashlib
import logging
from collections import OrderedDict
from pathlib import Path

import torch

from models.checkpoints import load
from models.own_classifier import identity, load_own
from models.pixel_classifier import PixelClassifier
from multav.errors import BadCheckpoint, BadOwnModel, Conflict
from multav.own_models import own_models
from multav.prepared_model import kept_bytes, prepare
from store import blobs, models
from store.database import Database
from store.models import RegisteredModel
from store.settings import Settings
from store.work_folders import WorkFolders

_log = logging.getLogger(__name__)


class ModelCache:
    """Gives classifiers in eval mode with frozen parameters, on one device, prepared to be attacked again and again.

    It keeps at most `loaded_models` of them, and no more than `loaded_models_bytes` together; the one that was asked
    for last stays, whatever its size.
    """

    def __init__(self, database: Database, device: str, folders: WorkFolders, settings: Settings) -> None:
        self._database = database
        self._device = device
        self._folders = folders
        self._settings = settings
        self._loaded: OrderedDict[str, PixelClassifier] = OrderedDict()

    def get(self, name: str, sha256: str | None = None) -> PixelClassifier:
        """The registered model `name`.

        Raises `NotFound`, `BadCheckpoint`, `BadOwnModel`, and `Conflict` for another `sha256`.
        """
        with self._database.read() as session:
            registered = models.get(session, name)
        if sha256 is not None and registered.sha256 != sha256:
            raise Conflict(
                f"model {name!r} was replaced after this job was accepted (its checkpoint is now {registered.sha256}): "
                "post the job again"
            )
        classifier = self._loaded.pop(registered.sha256, None)
        if classifier is None:
            # Room first: the old ones and the new one are never in memory together.
            self._make_room(self._settings.loaded_models - 1, (registered.card.parameters or 0) * 4)
            # What an operator's code does in a call nobody knows: it is not recorded.
            classifier = prepare(
                self._load(registered).to(self._device), capture=registered.blob_id is not None
            )
        self._loaded[registered.sha256] = classifier
        # What the card says of its size was a guess.
        self._make_room(self._settings.loaded_models, 0)
        return classifier

    @property
    def loaded(self) -> tuple[str, ...]:
        """SHA-256 of the models in memory, the one that was used last at the end."""
        return tuple(self._loaded)

    def _make_room(self, most: int, expected_bytes: int) -> None:
        """Let go of those that were not used for longest, until `expected_bytes` more fit."""
        allowed = self._settings.loaded_models_bytes - expected_bytes
        kept = 0 if expected_bytes or most < self._settings.loaded_models else 1
        while len(self._loaded) > kept and (
            len(self._loaded) > most or sum(map(_held_bytes, self._loaded.values())) > allowed
        ):
            sha256, _ = self._loaded.popitem(last=False)
            _log.info("model %s leaves memory", sha256[:12])

    def _load(self, registered: RegisteredModel) -> PixelClassifier:
        if registered.blob_id is None:
            return self._own(registered)
        with self._folders.open() as folder:
            path = folder / "checkpoint.safetensors"
            self._fetch(registered, registered.blob_id, path)
            return load(path)

    def _fetch(self, registered: RegisteredModel, blob_id: str, path: Path) -> None:
        """Write the checkpoint's bytes to `path`. Raises `BadCheckpoint` when they are not what was registered."""
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for chunk in blobs.read(self._database, blob_id):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != registered.sha256:
            raise BadCheckpoint(
                f"the stored checkpoint of {registered.name!r} is damaged (its bytes have the SHA-256 "
                f"{digest.hexdigest()}): delete the model and upload it again"
            )

    def _own(self, registered: RegisteredModel) -> PixelClassifier:
        own = own_models(self._settings.own_models).get(registered.card.name)
        if own is None:
            raise BadOwnModel(
                f"model {registered.name!r} is the operator's own code, which this worker does not have: install its "
                "package or set MULTAV_OWN_MODELS for every worker"
            )
        classifier = load_own(own)
        if identity(own, classifier) != registered.sha256:
            raise BadOwnModel(
                f"{own.path} makes another model than the one that is registered as {registered.name!r}: start the "
                "workers again, so that the new one is registered"
            )
        return classifier


def size_of(classifier: PixelClassifier) -> int:
    """Bytes of a network's tensors."""
    tensors = [*classifier.parameters(), *classifier.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _held_bytes(classifier: PixelClassifier) -> int:
    """With what attacks keep beside it."""
    return size_of(classifier) + kept_bytes(classifier)


def warm_up(classifier: PixelClassifier) -> None:
    """One forward and backward pass, so that the first job does not wait for kernels to be chosen and loaded."""
    geometry = classifier.geometry
    shape = (1, 3, geometry.frames, geometry.height, geometry.width)
    clips = torch.rand(shape, device=next(classifier.parameters()).device, requires_grad=True)
    torch.autograd.grad(classifier(clips).sum(), clips)
