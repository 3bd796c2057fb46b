"""Which trial comes next: Optuna's side of Ray Tune.

Hands out: journal, searcher.
"""
