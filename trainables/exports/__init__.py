"""A pruned network for use elsewhere: ONNX and torch files, an int8 file, its latency, a model that MLflow serves.

Hands out: export, latency, onnx_file, quantise, served.
"""
