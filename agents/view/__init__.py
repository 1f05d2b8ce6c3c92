"""The web view: pages over all workers at once, served by each of them on its own web port."""
