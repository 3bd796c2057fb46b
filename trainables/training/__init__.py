"""The training loop: dense training, recovery, resuming, training by several workers.

Hands out: calibration, fit, gpu_load, optimizers, process, recalibration, record, recorder,
recovery, saves, short_training, team, train, updates, workers.
"""
