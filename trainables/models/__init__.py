"""Networks by name, each built for a number of classes and of image channels.

Hands out: cifar, dispatch, hub, inputs, known, layers, libraries, modes, own_code, parameters, removed_blocks,
trial_run, trust, usage, widths.
"""
