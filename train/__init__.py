"""The torch side of classifiers: trained on real radiographs and their edits, written as ONNX with a contract.

Needs the extra ``train``. It stands on the runtime, never the other way round.
"""
