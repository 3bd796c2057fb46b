"""The training loop: dense training, recovery, resuming, several workers.

Hands out: calibration, fit, gpu_load, process, recalibration, record, recorder, recovery, team, train, workers.
"""
