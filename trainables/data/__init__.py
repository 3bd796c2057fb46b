"""Images: where they come from, how they are split, and the batches that training sees.

Hands out: batches, sources, splits, types.
"""
