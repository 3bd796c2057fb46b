"""What trials share, made once for each dense network: the network itself, profiles, probes, gates.

Hands out: dense, kinds, probes, profile, record.
"""
