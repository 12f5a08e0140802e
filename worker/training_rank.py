"""One process of a training on several devices, which lies in a folder (`worker.training_order`).

It ends well whenever nothing would be gained by starting it again: done, stopped, or an error that has words.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch

from models.checkpoints import load, save
from models.pixel_classifier import PixelClassifier
from multav.datasets.clip_cache import ClipCache
from multav.die_with_parent import die_with_parent
from multav.errors import Cancelled, InternalError, Interrupted
from multav.progress import Progress
from multav.training import told_error
from multav.training.joined_ranks import JoinedRanks, joined
from multav.training.train import Trained, train
from worker import training_order
from worker.memory import keep_large_buffers
from worker.training_order import AGENT, Notes, TrainingOrder, put

_PROGRESS_SECONDS: Final = 0.2
_log = logging.getLogger(__name__)


def main(folder: Path) -> None:
    """Take part in the training that lies in `folder`."""
    die_with_parent(int(os.environ[AGENT]))
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s")
    with _giving_up_in_words(int(os.environ["RANK"]), folder):
        order = TrainingOrder.read(folder)
        torch.set_num_threads(order.threads)
        keep_large_buffers()
        if order.cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # Said before the ranks part: NCCL may wait there for one that hangs, and nobody would hear why.
        with (
            joined(cuda=order.cuda, leads=order.leads) as ranks,
            _giving_up_in_words(ranks.rank, folder),
        ):
            (folder / training_order.MET).touch()
            trained = _trained(order, ranks, folder)
            if ranks.is_first:
                _leave(trained, folder)


@contextmanager
def _giving_up_in_words(rank: int, folder: Path) -> Iterator[None]:
    """An error that has words ends here, with the file that says so in `folder`."""
    try:
        yield
    except Exception as error:
        words = _in_words(error)
        if words is None:
            raise
        _log.warning("rank %d gives up", rank, exc_info=error)
        # Whoever reads of a stop ends all ranks: the first one says so, when its checkpoint is written.
        if rank == 0 or not isinstance(error, (Cancelled, Interrupted)):
            put(folder / f"error-{rank}.json", told_error.to_json(words))


def _trained(order: TrainingOrder, ranks: JoinedRanks, folder: Path) -> Trained:
    device = torch.device("cuda", torch.cuda.current_device()) if order.cuda else torch.device("cpu")
    beginning, resume_from = _files(order, ranks, folder)
    model = load(beginning).to(device)
    notes = Notes(folder)
    if ranks.is_first:
        notes.begin()
        notes.write("restarts", int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")))
    reported = 0.0

    def report(progress: Progress) -> None:
        nonlocal reported
        moment = time.monotonic()
        if progress.done == progress.total or moment - reported > _PROGRESS_SECONDS:
            reported = moment
            notes.write("progress", progress)

    def check() -> None:
        stop = folder / training_order.STOP
        if stop.exists():
            raise Cancelled if stop.read_text() == "cancelled" else Interrupted

    return train(
        model,
        order.request,
        order.videos,
        model.geometry,
        limits=order.limits,
        cache=None if order.clips is None else ClipCache(Path(order.clips[0]), order.clips[1]),
        decoders=order.decoders,
        resume_from=resume_from,
        checkpoint_at=folder / training_order.CHECKPOINT,
        on_checkpoint=lambda _, step: notes.write("checkpoint", step),
        on_point=lambda point: notes.write("point", point),
        on_progress=report,
        check=check,
        ranks=ranks,
    )


def _files(order: TrainingOrder, ranks: JoinedRanks, folder: Path) -> tuple[Path, Path | None]:
    """The network that it starts from, and the checkpoint to go on from; from the host that has them."""
    beginning = folder / training_order.BEGINNING
    kept = (folder / training_order.CHECKPOINT, folder / training_order.KEPT)
    resume_from = next((path for path in kept if path.exists()), None)
    if order.request.hosts == 1:
        return beginning, resume_from
    own = folder / f"of-rank-{ranks.rank}"
    own.mkdir(exist_ok=True)
    fetched = ranks.file(beginning, own / training_order.BEGINNING)
    assert fetched is not None, "the first rank has one"
    return fetched, ranks.file(resume_from, own / training_order.KEPT)


def _leave(trained: Trained, folder: Path) -> None:
    assert isinstance(trained.model, PixelClassifier), "what a training begins with"
    save(trained.model, folder / training_order.MODEL, dtype=torch.float32)
    rest = {name: value for name, value in vars(trained).items() if name not in ("model", "look")}
    put(folder / training_order.RESULT, rest | {"look": asdict(trained.look)})


def _in_words(error: Exception) -> told_error.TellableError | None:
    """What a user can be told; None of what starting again may mend, such as another rank's death."""
    from worker.run_job import as_problem

    if isinstance(error, (Cancelled, Interrupted)):
        return error
    problem = as_problem(error, "training")
    return None if isinstance(problem, InternalError) else problem


if __name__ == "__main__":
    main(Path(sys.argv[1]))
