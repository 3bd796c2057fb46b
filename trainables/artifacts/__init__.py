"""Artifacts that trials share: dense networks, and the profiles, probes and trained gates of each; latency tables.

Hands out: dense, kinds, latency, needs, probes, profile, record.
"""
