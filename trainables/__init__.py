"""What one trial does: data, models, pruning, allocation, recovery. Knows nothing of the search around it."""
