"""Ops whose recursions are loop nests: a step depends on the one before."""
