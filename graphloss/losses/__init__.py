"""Each loss once, as a composition of stable ops; the dialects only give it their names, shapes and reductions."""
