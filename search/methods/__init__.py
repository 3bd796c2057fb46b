"""The methods of Optuna and Ray Tune that a search may use: samplers, spaces and schedulers.

Hands out: contract, names, samplers, schedulers, spaces.
"""
