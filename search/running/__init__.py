"""A study on Ray: the work that trials share, then the trials themselves.

Hands out: dry_run, identity, run, tuner.
"""
