"""The torch side: a checkpoint becomes a bundle.

    from roentmod_fast_export import export_checkpoint

``torch.onnx.export`` with ``dynamo=True`` makes the ONNX files; why, and not ``optimum``, stands in ``onnx_export``.
"""

from __future__ import annotations

from .exporter import export_checkpoint

__all__ = ["export_checkpoint"]
