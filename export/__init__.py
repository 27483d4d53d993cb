"""The torch side: a checkpoint becomes a bundle.

    from roentmod_fast_export import export_checkpoint

``torch.onnx.export`` with ``dynamo=True`` makes the ONNX files; why, and not ``optimum``, stands in ``onnx_export``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporter import export_checkpoint

__all__ = ["export_checkpoint"]


def __getattr__(name: str) -> Any:
    """Import the exporter, and torch with it, at first use: ``engine_side`` lives in processes without torch."""
    if name == "export_checkpoint":
        from .exporter import export_checkpoint

        return export_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
