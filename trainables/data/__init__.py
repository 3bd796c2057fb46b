"""Images: their sources, their splits, and the batches for training.

Hands out: batches, content, sources, splits, types.
"""
