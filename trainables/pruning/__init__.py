"""What can be removed from a network, the score of each unit, and the removal itself.

Hands out: block_chain, blocks, channels, context, criteria, gates, granularities, granularity, masks, probe_order,
soundness.
"""
