"""Runs the integrity scan of a dataset: every video is decoded, hashed and looked up among the others."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from multav.datasets.scan import scan
from multav.progress import Pace
from worker.kept_files import WrittenFile, keep_files

if TYPE_CHECKING:
    from worker.process import WorkerProcess
    from worker.running_job import RunningJob

_MOST_NAMED: Final = 100


def run_scan(running: "RunningJob", process: "WorkerProcess") -> dict[str, Any]:
    """Counts, and the first of what is wrong; the whole of it is in the artifacts."""
    spec = running.job.spec
    listing = process.datasets.get(spec["dataset"], spec["dataset_sha256"], anew=True)
    pace = Pace(len(listing.videos), "videos", running.report)
    found = scan(
        listing,
        running.settings.video_limits(),
        workers=running.settings.decoders,
        check=running.check,
        progress=lambda *_: pace.advance(),
    )
    with process.folders.open() as folder:
        manifest, whole = folder / "manifest.jsonl", folder / "scan.json"
        manifest.write_text(found.manifest, encoding="utf-8")
        whole.write_text(found.model_dump_json(indent=2), encoding="utf-8")
        keep_files(
            running,
            [
                WrittenFile("dataset-manifest", manifest, "application/jsonl"),
                WrittenFile("scan", whole, "application/json"),
            ],
        )
    wrong = [video for video in found.videos if video.status != "ok"]
    return {
        "counts": found.counts,
        "wrong": [asdict(video) for video in wrong[:_MOST_NAMED]],
        "not_there": list(listing.missing[:_MOST_NAMED]),
        "duplicates": [asdict(duplicate) for duplicate in found.duplicates[:_MOST_NAMED]],
        "remarks": list(found.remarks),
        "dataset_sha256": found.dataset_sha256,
        "content_sha256": found.content_sha256,
    }
