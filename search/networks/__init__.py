"""One network without a study: its allocation, its profile, its probes.

Hands out: allocation, curves, network, probe, profile.
"""
