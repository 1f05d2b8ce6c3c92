"""Tells people what needs them: a breaker that opened, batches that were parked, an endpoint that is gone."""
