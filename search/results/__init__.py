"""The study folder: trials as rows, constraints on rows, the Pareto front.

Hands out: constraints, data_at_hand, dense_networks, durations, failures, folder, measured_again, names, out_folder,
pareto, proposal, rows, scale, searches, shared_artifacts, status, storage_needs, to_json, unneeded, versions.
"""
