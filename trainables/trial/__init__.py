"""One trial: prune a dense network to the budget, train it again, report each epoch.

Hands out: record, reports, trainable.
"""
