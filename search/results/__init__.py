"""The study folder: trials as rows, constraints on them, their Pareto front.

Hands out: constraints, folder, pareto, rows, status, versions.
"""
