"""Ranks that work together through `torch.distributed`: gloo between processors, NCCL between GPUs."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import torch
from torch import Tensor, distributed, nn
from torch._C._distributed_c10d import PrefixStore
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
def joined(*, cuda: bool) -> Iterator[JoinedRanks]:
    """This process as one of the ranks that its environment speaks of, as `torchrun` sets it."""
    store, rank, size = next(rendezvous("env://"))
    # The agent keeps one store for all starts, in which ranks would find the addresses of those that died.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=PrefixStore(f"attempt-{attempt}", store),
        rank=rank,
        world_size=size,
        timeout=_PATIENCE,
    )
    try:
        yield JoinedRanks(rank, size)
    finally:
        distributed.destroy_process_group()
