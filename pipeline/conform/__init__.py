"""Tries a customer's receiver with good, odd and bad requests, and says how it fares."""
