"""Sample endpoints that verify and count what they are sent."""
