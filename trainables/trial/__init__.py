"""One trial: prune a dense network to the budget, let it recover, report each epoch.

Hands out: reports, trainable.
"""
