"""Which channels of which tensors of a network go together, followed through one forward pass.

Hands out: labels, trace.
"""
