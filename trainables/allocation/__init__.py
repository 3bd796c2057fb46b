"""How one budget is shared among the parts of a network."""
