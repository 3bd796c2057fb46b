"""The sections of the report: one file for each question.

Hands out: accuracy, compact, cost, curricula, evidence, gap, gates, importance, layers, pareto, probes, progress,
ranking.
"""
