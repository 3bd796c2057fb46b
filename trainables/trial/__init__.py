"""One trial: prune a dense network to the budget, train it again, report each epoch, quantise.

Hands out: quantisation, record, reports, trainable.
"""
