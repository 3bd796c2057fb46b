"""Tasks of what other libraries have: collators of transformers and modules of Lightning. Users call them."""
