"""The only place that opens connections to customers' endpoints."""
