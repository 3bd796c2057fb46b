"""The study folder: trials as rows, constraints on them, their Pareto front.

Hands out: constraints, folder, names, pareto, rows, status, versions.
"""
