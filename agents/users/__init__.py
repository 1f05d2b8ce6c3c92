"""The directory of users: its table, its index in Redis, and how requests ask both."""
