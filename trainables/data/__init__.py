"""Images and samples of tasks: their sources, their splits, and the batches for training.

Hands out: batches, collated, content, samples, sources, splits.
"""
