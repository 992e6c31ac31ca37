"""PARSEC."""
