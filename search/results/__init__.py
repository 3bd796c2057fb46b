"""The study folder: trials as rows, constraints on rows, the Pareto front.

Hands out: dense_networks, constraints, data_at_hand, folder, names, pareto, rows, status, versions.
"""
