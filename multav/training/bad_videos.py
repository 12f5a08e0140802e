"""Videos that give no clip: how many a training bears with, and what is said of them."""

from collections.abc import Mapping, Sequence
from contextlib import closing

from multav.datasets.listing import ListedVideo
from multav.errors import BadDataset
from multav.training.batches import Batches


def refuse_mostly_bad(bad: Mapping[str, str], videos: int) -> None:
    """Raise `BadDataset` where more than half of so many training videos give no clip; `bad` says why, by name."""
    if 2 * len(bad) > videos:
        raise BadDataset(f"{len(bad)} of {videos} training videos give no clip, {_for_instance(bad)}")


def nothing_to_look_at(bad: Mapping[str, str]) -> BadDataset:
    """What is raised where no validation video gives a clip."""
    return BadDataset(
        f"no validation video gives a clip, {_for_instance(bad)}: look at the dataset with a scan"
    )


def one_is_good(batches: Batches, videos: Sequence[ListedVideo]) -> bool:
    """Whether any of `videos` gives a clip: they are decoded in their order up to the first that does.

    `batches.bad` hears of those before it.
    """
    with closing(batches.of(videos, 1)) as source:
        return any(batch.numbers for batch in source)


def left_out(train: tuple[int, int], validation: tuple[int, int]) -> str | None:
    """What the result says of so many bad videos of so many, in words; None where there is none."""
    sets = [(bad, of, name) for (bad, of), name in ((train, "training"), (validation, "validation")) if bad]
    if not sets:
        return None
    counts = " and ".join(f"{bad} of the {of} {name} videos" for bad, of, name in sets)
    were, them = ("was", "it") if sum(bad for bad, _, _ in sets) == 1 else ("were", "them")
    return f"{counts} {were} left out: no clip could be made of {them}"


def _for_instance(bad: Mapping[str, str]) -> str:
    name, detail = next(iter(bad.items()))
    return f"such as {name}: {detail}"
