"""One rank of a few: runs every case and leaves what came of it in a folder. `torchrun`'s variables are set."""

import copy
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from multav.errors import Cancelled
from multav.training.joined_ranks import JoinedRanks, joined
from tests.multav.training_ranks.cases import CASES, run


def _stopped(ranks: JoinedRanks, folder: Path, *, at: int, on: int) -> str:
    """Stop at a call of `check` on rank `on` alone; the name of what this rank meets."""
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == at and ranks.rank == on:
            raise Cancelled

    try:
        run(CASES["batch norm"], ranks, folder, check=check)
    except Cancelled:
        return "cancelled"
    return "ran through"


def main(folder: Path) -> None:
    """Leaves `<case>-<rank>.pt` and `said-<rank>.json`."""
    torch.set_num_threads(1)
    said: dict[str, str] = {}
    with joined(cuda=False) as ranks:
        for name, case in CASES.items():
            net, trained, points = run(case, ranks, folder)
            torch.save(
                {
                    "weights": copy.deepcopy(net.state_dict()),
                    "kept": trained.model.state_dict(),
                    "points": [asdict(point) for point in points],
                    "bad": sorted(trained.bad_videos),
                    "steps": trained.steps,
                },
                folder / f"{name}-{ranks.rank}.pt",
            )
        # In the middle of an attack of the third step, on one rank or the other.
        for on in (0, ranks.size - 1):
            path = folder / f"stopped-on-{on}"
            path.mkdir(exist_ok=True)
            said[f"stopped on {on}"] = _stopped(ranks, path, at=9, on=on)
            net, _, _ = run(CASES["batch norm"], ranks, path, resume_from=path / "checkpoint")
            torch.save(net.state_dict(), folder / f"resumed-after-{on}-{ranks.rank}.pt")
        try:
            ranks.together(lambda: (None, 1 // (1 - ranks.rank)))
        except (ZeroDivisionError, RuntimeError) as error:
            said["defect on 1"] = type(error).__name__
    (folder / f"said-{ranks.rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
