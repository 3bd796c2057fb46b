"""Images: their sources, their splits, and the batches for training.

Hands out: batches, sources, splits, types.
"""
