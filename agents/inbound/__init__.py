"""Inbound on one worker: the listener that outside systems call, and the stage that what it took goes through."""
