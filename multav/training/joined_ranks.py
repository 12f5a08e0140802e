"""Ranks that work together through `torch.distributed`: gloo between processors, NCCL between GPUs."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from multav.training.ranks import Own, Ranks
from multav.training.shared_network import shared_network
from multav.training.told_error import TELLABLE, from_json, to_json

# A rank waits while others look at their clips, which may take long; one that dies is noticed at once.
_PATIENCE: Final = timedelta(hours=12)


class RankFailed(RuntimeError):
    """Another rank met an error that nobody expected."""


class JoinedRanks(Ranks):
    """See `Ranks`. Made by `joined`."""

    def together(self, work: Callable[[], tuple[Own, Any]]) -> tuple[Own, list[Any]]:
        """See `Ranks.together`."""
        own: Own
        failure: Exception | None = None
        try:
            own, told = work()
            said: dict[str, Any] = {"told": told}
        except Exception as error:
            failure = error
            said = {"error": to_json(error) if isinstance(error, TELLABLE) else None}
        heard = self._exchanged(said)
        failed = [rank for rank, each in enumerate(heard) if "error" in each]
        if not failed:
            return own, [each["told"] for each in heard]
        first = failed[0]
        if failure is not None and first == self.rank:
            raise failure
        words = heard[first]["error"]
        raise RankFailed(f"rank {first} failed: its log says how") if words is None else from_json(words)

    def network(self, model: nn.Module) -> nn.Module:
        """See `Ranks.network`; batch norm is over the clips of all ranks. Every rank has to make one at once."""
        return shared_network(model)

    def file(self, source: Path | None, target: Path) -> Path | None:
        """The first rank's file `source`, which the others write to `target`; None where it has none.

        Every rank has to ask for it at once.
        """
        content = source.read_bytes() if self.is_first and source is not None else None
        length = torch.tensor([-1 if content is None else len(content)])
        distributed.broadcast(length, 0)
        if int(length) < 0:
            return None
        held = torch.empty(int(length), dtype=torch.uint8)
        if content is not None:
            held = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        distributed.broadcast(held, 0)
        if self.is_first:
            return source
        target.write_bytes(held.numpy().tobytes())
        return target

    def _exchanged(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        """What every rank says. JSON, and not what `torch.distributed` would take objects apart with: pickle."""
        text = json.dumps(said).encode()
        lengths = [int(length) for length in self._gathered(torch.tensor([len(text)]))]
        padded = torch.zeros(max(lengths), dtype=torch.uint8)
        padded[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        heard = self._gathered(padded)
        return [
            json.loads(bytes(each[:length].tolist())) for each, length in zip(heard, lengths, strict=True)
        ]

    def _gathered(self, tensor: Tensor) -> list[Tensor]:
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        distributed.all_gather(found, tensor)
        return found


@contextmanager
def joined(*, cuda: bool, leads: bool = True) -> Iterator[JoinedRanks]:
    """This process as one of the ranks that its environment speaks of, as `torchrun` sets it.

    Those that `leads` is said of come first in the count: the first rank of all is one of them. Every start needs a
    store of its own (TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for `torchrun`): in one that was used before, ranks would
    find the addresses of those that died.
    """
    store, rank, size = next(rendezvous("env://"))
    store.set(f"leads-{rank}", str(int(leads)))
    follows = [store.get(f"leads-{each}") != b"1" for each in range(size)]
    rank = sorted(range(size), key=lambda each: (follows[each], each)).index(rank)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=store,
        rank=rank,
        world_size=size,
        timeout=_PATIENCE,
    )
    try:
        yield JoinedRanks(rank, size)
    finally:
        distributed.destroy_process_group()
