"""Integrations as data: what is stored, how it may change, and what a worker makes of it."""
