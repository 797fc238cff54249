"""Every network by name: how ``manifest.network`` and ``manifest.network_arguments`` become a module again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from torch import nn

from models.nets import af, ecg, glucose, imaging

_BUILDERS: Final[dict[str, Callable[[str, Mapping[str, int]], nn.Module]]] = {
    af.NETWORK: af.build,
    ecg.NETWORK: ecg.build,
    glucose.NETWORK: glucose.build,
    imaging.NETWORK: imaging.build,
}


def build(name: str, arguments: Mapping[str, int]) -> nn.Module:
    """The network called ``name``, with fresh weights. Raises ``ValueError`` for an unknown name or argument."""
    if name not in _BUILDERS:
        raise ValueError(f"no network is called {name!r}; there are {sorted(_BUILDERS)}")
    return _BUILDERS[name](name, arguments)
