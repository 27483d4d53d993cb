"""A session over arrays that stay on the device, so that a loop takes no memory there and may be one CUDA graph.

For each batch size there is one set of arrays, made when that size first comes. A CUDA graph is the whole network
recorded as one launch; it reads and writes the very addresses that it was recorded with, which is why it needs these
arrays, and it holds for one batch size, which is its ``gpu_graph_id``. Source: "Using CUDA Graphs" on ONNX Runtime's
page of the CUDA provider.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod_fast.runtime.devices import import_onnxruntime

Array = NDArray[Any]

KEPT_INPUT = "text_states"
"""The one input that stays the same through a loop: it is uploaded only when its values have changed."""

NO_GRAPH = "-1"
"""The ``gpu_graph_id`` of a run that neither records nor replays; 0 is onnxruntime's own."""

TYPES = {"tensor(float)": np.dtype(np.float32), "tensor(int64)": np.dtype(np.int64)}
"""numpy's type for each type that a port of a network may have."""

_one_at_a_time = threading.Lock()
"""The arrays are shared by all calls, and while a graph is recorded any other use of the card would spoil it."""


class GraphError(Exception):
    """A run failed that recorded or replayed a CUDA graph; without one it may succeed."""


class BoundSession:
    """A session whose inputs and outputs lie in ``memory``, a device's name for onnxruntime such as ``cuda``."""

    def __init__(self, session: Any, memory: str, *, graphs: bool = False) -> None:
        """Bind ``session``, opened with CUDA graphs where ``graphs`` are wished."""
        self._session = session
        self._memory = memory
        self._graphs = graphs
        self._sets: dict[int, _Arrays] = {}

    def run(self, names: list[str], arrays: Mapping[str, Array]) -> list[Array]:
        """Run on ``arrays``, all of one batch size; return the outputs ``names`` as arrays of the caller's own.

        The first run of a batch size records nothing: cuDNN tries its algorithms and memory is taken, neither of which
        can be part of a graph. Raises :class:`GraphError` where a graph failed.
        """
        count = next(iter(arrays.values())).shape[0]
        with _one_at_a_time:
            bound = self._sets.get(count)
            if bound is None:
                bound = self._sets[count] = _Arrays(self._session, self._memory, count)
            bound.upload(arrays)
            by_graph = self._graphs and bound.warm
            options = None
            if self._graphs:
                options = import_onnxruntime().RunOptions()
                options.add_run_config_entry("gpu_graph_id", str(count) if by_graph else NO_GRAPH)
            try:
                self._session.run_with_iobinding(bound.binding, options)
            except Exception as error:  # onnxruntime raises classes of its own, none of them public
                if by_graph:
                    raise GraphError(str(error)) from error
                raise
            bound.warm = True
            return bound.download(names)


class _Arrays:
    """The arrays of one batch size, bound; ``warm`` once they have been run over."""

    def __init__(self, session: Any, memory: str, count: int) -> None:
        make = import_onnxruntime().OrtValue.ortvalue_from_shape_and_type
        self.binding = session.io_binding()
        self.warm = False
        self._uploaded: Array | None = None

        def allocate(port: Any) -> Any:
            return make((count, *port.shape[1:]), TYPES[port.type], memory, 0)

        self._inputs = {port.name: allocate(port) for port in session.get_inputs()}
        self._outputs = {port.name: allocate(port) for port in session.get_outputs()}
        for name, value in self._inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self.binding.bind_ortvalue_output(name, value)

    def upload(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            if name != KEPT_INPUT:
                self._inputs[name].update_inplace(np.ascontiguousarray(array))
            elif self._uploaded is None or not np.array_equal(self._uploaded, array):
                # A copy, for the caller may change his array in place.
                self._uploaded = np.array(array, order="C")
                self._inputs[name].update_inplace(self._uploaded)

    def download(self, names: list[str]) -> list[Array]:
        # The processor's own memory is lent by numpy(), not copied, and the next run writes over it.
        return [np.array(self._outputs[name].numpy()) for name in names]
