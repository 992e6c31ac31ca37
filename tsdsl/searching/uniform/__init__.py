"""Uniform single-path training."""
