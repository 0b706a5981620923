"""The rules of the stabiliser, by family."""
