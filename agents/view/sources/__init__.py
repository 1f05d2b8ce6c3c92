"""What the view's tables are made of: each source answers for this worker's part of one kind of rows."""
