"""Examines one integration from end to end: its name, connection, certificate, credentials, and a test event."""
