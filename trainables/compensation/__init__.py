"""Accuracy without training: least squares repair what is left of a pruned network.

Hands out: compensation.
"""
