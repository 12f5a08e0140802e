"""The operator's folder of native checkpoints: each file in it is checked in at the start, once."""

import hashlib
import logging
import tempfile
from pathlib import Path

from models.check_in import check_in
from multav.errors import MultavError
from multav.model_upload import ModelUpload
from service.instance import CannotStart
from service.model_door import check_in_limits
from store import blobs, idempotency, models
from store.database import Database
from store.settings import Settings

_log = logging.getLogger(__name__)


def register_folder(database: Database, settings: Settings) -> None:
    """Register every `*.safetensors` in `models_dir`, in place of what a file of that name held before.

    A file that is refused is told in the log, and keeps nothing else from starting. Raises `CannotStart` when the
    folder is not there.
    """
    if settings.models_dir is None:
        return
    if not settings.models_dir.is_dir():
        raise CannotStart(f"MULTAV_MODELS_DIR={settings.models_dir}: there is no such folder")
    for path in sorted(settings.models_dir.glob("*.safetensors")):
        if not path.is_file():
            # A pipe would keep the start waiting for ever.
            _log.error("%s is not registered: it is not a file", path)
            continue
        try:
            _register(database, settings, path)
        except MultavError as error:
            _log.error("%s is not registered: %s", path, error.detail)
        except OSError as error:
            _log.error("%s is not registered: %s", path, error)


def _register(database: Database, settings: Settings, path: Path) -> None:
    # Trying a model takes seconds: those that are known from the last start are left as they are.
    meaning = idempotency.request_hash("folder", _sha256(path))
    with database.read() as session:
        if models.uploaded_as(session, meaning) is not None:
            return
    with tempfile.TemporaryDirectory(prefix="multav-check-in-") as folder:
        native = Path(folder) / "native.safetensors"
        checked = check_in(path, native, ModelUpload(), check_in_limits(settings))
        with native.open("rb") as file:
            blob = blobs.write(database, file)
    with database.write() as session:
        model = models.declare(
            session,
            checked.card,
            sha256=blob.sha256,
            blob=blob,
            origin="folder",
            upload_hash=meaning,
        )
    _log.info("model %s is registered from %s", model.name, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
