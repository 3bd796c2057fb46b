"""A pruned network for use elsewhere: ONNX and torch files, its latency, a model that MLflow serves.

Hands out: export, latency, served.
"""
