"""What a worker remembers of attempts, batches, parked batches, dead letters and notices: an index that can be thrown away.

The topics are the truth. The index is a DuckDB file that is filled from them, so that a page of a million attempts is found
in milliseconds; a worker that loses it reads the topics again.
"""
