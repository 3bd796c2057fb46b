"""What can be removed from a network, how each unit is scored, and the removal itself."""
