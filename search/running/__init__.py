"""A study on Ray: the work that trials share, then the trials themselves.

Hands out: clean, dry_run, identity, messages, run, tuner.
"""
