"""Where a network learns: the device of this process, and the others that learn the same one beside it.

``python -m trainer`` is a world of one; ``torchrun --nproc-per-node N -m trainer`` makes N processes that take equal
shares of every batch and hold the same weights. The first of them does all else: it alone reads the corpus, judges and
releases, and tells the others what they must know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import torch
from torch import distributed, nn

_PATIENCE: Final = timedelta(hours=6)
"""How long the others wait for the first: it may have to read a large corpus."""

_CPU: Final = torch.device("cpu")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """``rank`` of ``size`` processes, and the device that this one computes on."""

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @property
    def first(self) -> bool:
        """Whether this process leads."""
        return self.rank == 0

    def told(self, value: T) -> T:
        """What the first process says, in all of them. Waits for all."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def together(self, network: nn.Module) -> nn.Module:
        """``network``, whose gradients are the mean over all processes."""
        if self.size == 1:
            return network
        return nn.parallel.DistributedDataParallel(
            network, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    @property
    def half(self) -> torch.dtype:
        """The number format of mixed precision here."""
        has_bfloat16 = self.device.type == "cpu" or torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float16


ALONE: Final = World()


@contextmanager
def joined(environment: Mapping[str, str]) -> Iterator[World]:
    """The world that ``environment`` (of torchrun, or none) speaks of. A CPU computes the same twice, a GPU may not."""
    size, local = int(environment.get("WORLD_SIZE", "1")), int(environment.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else _CPU
    torch.use_deterministic_algorithms(not cuda)
    if cuda:
        torch.cuda.set_device(device)
    if size == 1:
        yield World(device=device)
        return
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield World(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()
