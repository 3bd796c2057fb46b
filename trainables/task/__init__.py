"""What a network is trained for: loss, metric, and the distance of its outputs from the dense network's.

Hands out: check, classification, distance, fit_check, loading, metric, metrics, objective, task.
"""
