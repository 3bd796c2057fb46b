"""Networks by name, each built for a number of classes and of image channels."""
