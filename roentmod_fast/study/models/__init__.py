"""Models that look at edits: classifiers and embedders, as ONNX files with a contract or as tables of predictions."""
