"""The units that can be removed from a network, their scores, and their removal.

Hands out: additions, block_chain, blocks, channels, context, criteria, gates, granularities, granularity, held,
latency_cost, masked_norms, masks, probe_order, rules, soundness.
"""
