"""Artifacts that trials share: dense networks, and the profiles, probes and trained gates of each of them.

Hands out: dense, kinds, needs, probes, profile, record.
"""
