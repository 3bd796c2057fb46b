"""Which trials to run, and what they showed."""
