"""One network without a study: its layers, its allocation, its profile, its probes.

Hands out: allocation, curves, inspection, latency, network, probe, profile.
"""
