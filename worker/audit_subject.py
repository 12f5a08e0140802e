"""What an audit is about, for the worker that has one of its parts: models, classes and videos."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from torch import nn

from models.pixel_classifier import PixelClassifier
from multav.audits.class_order import common_classes
from multav.audits.reordered import in_order
from multav.audits.request import AuditRequest
from multav.datasets.clips import LoadedClip
from multav.datasets.decode_ahead import decode_ahead
from multav.datasets.listing import ListedVideo, Listing
from multav.errors import BadVideo
from multav.prepared_model import prepare
from store import jobs, models, outcomes
from store.outcomes import AuditClip

if TYPE_CHECKING:
    from worker.process import WorkerProcess
    from worker.running_job import RunningJob


@dataclass(frozen=True)
class AuditSubject:
    """The audit `audit_id`, as the worker `process` sees it."""

    audit_id: str
    request: AuditRequest
    process: "WorkerProcess"

    @classmethod
    def of(cls, running: "RunningJob", process: "WorkerProcess") -> "AuditSubject":
        """The audit that `running` is, or is a part of."""
        audit_id = running.job.parent_id or running.job.id
        with running.database.read() as session:
            spec = jobs.get(session, audit_id).spec
        return cls(audit_id, AuditRequest.parse(spec), process)

    @cached_property
    def listing(self) -> Listing:
        """The dataset. Raises as `DatasetCache.get`."""
        return self.process.datasets.get(self.request.dataset, self.request.dataset_sha256)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order that labels and predictions refer to."""
        with self.process.database.read() as session:
            known = {name: models.get(session, name).card.classes for name in self.request.models}
        return common_classes(self.request.dataset, self.listing.classes, known)

    def classifier(self, name: str) -> PixelClassifier:
        """A model as it is registered. Raises as `ModelCache.get`."""
        return self.process.models.get(name, self.request.model_sha256.get(name))

    def model(self, name: str) -> nn.Module:
        """A model with its logits in the order of `classes`."""
        classifier = self.classifier(name)
        ordered = in_order(classifier, classifier.classes, self.classes)
        # The model itself is prepared already; a part attacks it again and again.
        return ordered if ordered is classifier else prepare(ordered, capture=False)

    def clips(self, first: int = 0, last: int | None = None) -> list[AuditClip]:
        """The planned videos from position `first` up to `last`."""
        with self.process.database.read() as session:
            return outcomes.clips_of(session, self.audit_id, first, last)

    def video(self, clip: AuditClip) -> ListedVideo:
        """The video behind a planned clip."""
        return self.listing.videos[clip.clip]

    def loaded(
        self, name: str, clips: Sequence[AuditClip], running: "RunningJob"
    ) -> Generator[tuple[AuditClip, LoadedClip | BadVideo], None, None]:
        """The planned videos as the model `name` sees them, in order; or why one cannot be used.

        Videos are decoded ahead, a batch of them at least. To be closed by who does not want them all.
        """
        settings = running.settings
        source = decode_ahead(
            [self.video(clip) for clip in clips],
            self.classifier(name).geometry,
            self.request.recipe,
            settings.video_limits(),
            cache=self.process.datasets.clips,
            workers=settings.decoders,
            ahead=max(2 * settings.decoders, self.request.batch_size),
            check=running.check,
        )
        with closing(source):
            for clip, (_, loaded) in zip(clips, source, strict=True):
                yield clip, loaded
