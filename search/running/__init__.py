"""A study on Ray: the work that trials share, then the trials themselves.

Hands out: identity, run, tuner.
"""
