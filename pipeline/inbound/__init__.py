"""What comes in from outside: webhooks and Segment's calls, as settings, rules and records, without any I/O."""
