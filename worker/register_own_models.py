"""Register the operator's own models: make each, try it, and write it into the registry.

    python -m worker.register_own_models [NAME ...]    exit code 1 when one of them was refused; the log says why

It runs before the workers start (`python -m service` and `python -m service worker` see to that). Each model is made
twice: a factory that gives other weights every time would give other weights in every worker.
"""

import logging
import sys
from collections.abc import Mapping

from models.counts import counts
from models.own_classifier import identity, load_own
from models.pixel_classifier import PixelClassifier
from models.smoke_test import smoke_test
from multav.errors import BadOwnModel, MultavError
from multav.own_models import OwnModel, own_models
from store import models
from store.database import Database
from store.models import RegisteredModel
from store.settings import load_settings

_log = logging.getLogger(__name__)


def main() -> int:
    """Register what is declared; the exit code."""
    settings = load_settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    declared = own_models(settings.own_models)
    names = sys.argv[1:] or list(declared)
    unknown = [name for name in names if name not in declared]
    if unknown:
        _log.error("no own model is declared as %s", ", ".join(unknown))
        return 1
    database = Database(settings.database)
    try:
        return 1 if register_all(database, {name: declared[name] for name in names}) else 0
    finally:
        database.close()


def register_all(database: Database, declared: Mapping[str, OwnModel]) -> dict[str, MultavError]:
    """Register each model; why those were refused that were, by name. One that fails stands in no other's way."""
    refused: dict[str, MultavError] = {}
    for own in declared.values():
        try:
            registered = register(database, own)
            _log.info("model %s is registered from %s as %s", own.name, own.path, registered.sha256[:12])
        except MultavError as error:
            refused[own.name] = error
            _log.error("model %s is refused: %s", own.name, error.detail)
        except Exception as error:
            # Their code is called in many places, and may raise anything in each.
            refused[own.name] = BadOwnModel(f"{own.path} raised {type(error).__name__}: {str(error)[:2000]}")
            _log.exception("model %s is refused", own.name)
    return refused


def register(database: Database, own: OwnModel) -> RegisteredModel:
    """Make the model, try it, and write it into the registry. Raises `BadOwnModel` and `Conflict`."""
    classifier = load_own(own)
    sha256 = identity(own, classifier)
    if identity(own, load_own(own)) != sha256:
        raise BadOwnModel(
            f"{own.path} gives other weights each time: load them from a file, or seed the random numbers"
        )
    report = smoke_test(classifier)
    if not report.passed:
        raise BadOwnModel(f"{own.path}: {'; '.join(report.faults)}")
    card = classifier.card.model_copy(update={"smoke": report.as_dict(), "macs": _macs(classifier)})
    with database.write() as session:
        return models.declare(session, card, sha256=sha256, blob=None, origin="own")


def _macs(classifier: PixelClassifier) -> int | None:
    """Multiply-adds of one clip; None where the code does not run on tensors without values."""
    geometry = classifier.geometry
    try:
        counted = counts(classifier.backbone, (1, 3, geometry.frames, geometry.height, geometry.width))
    except Exception:
        _log.info("the multiply-adds of %s cannot be counted", classifier.card.name, exc_info=True)
        return None
    return counted.multiply_adds + counted.attention_multiply_adds


if __name__ == "__main__":
    sys.exit(main())
