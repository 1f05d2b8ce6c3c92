"""What Segment, and others that call as it does, send: bodies into typed commands, and the documented answers."""
