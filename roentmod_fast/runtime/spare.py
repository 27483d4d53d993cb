"""A network in half precision and the float32 one that takes its place where half precision overflows.

The autoencoder of Stable Diffusion is known for it: some pictures exceed 65504, the largest half, inside it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from roentmod_fast.errors import NotFiniteError

if TYPE_CHECKING:
    from roentmod_fast.runtime.networks import Network


class NetworkWithSpare:
    """Runs ``network`` until a result is not finite, and from then on what ``open_spare`` opens."""

    def __init__(self, network: Network, open_spare: Callable[[], Network], tell: Callable[[str], None]) -> None:
        self._network = network
        self._open_spare: Callable[[], Network] | None = open_spare
        self._tell = tell
        self._opening = threading.Lock()

    @property
    def spared(self) -> bool:
        """Whether the spare has taken over."""
        return self._open_spare is None

    def run(self, **arrays: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run as :meth:`Network.run` does; where the spare's result is not finite either, the error stands."""
        network = self._network
        try:
            return network.run(**arrays)
        except NotFiniteError:
            with self._opening:
                if self._network is network:  # else another thread has opened the spare meanwhile
                    if self._open_spare is None:
                        raise
                    self._tell(f"{network.role} gave NaN or infinity in half precision: from now on it runs in float32")
                    self._network, self._open_spare = self._open_spare(), None
        return self._network.run(**arrays)
