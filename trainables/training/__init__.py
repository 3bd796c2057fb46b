"""Training a dense network, and bringing the accuracy of a pruned one back."""
