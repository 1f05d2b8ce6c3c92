"""Read-only SQL over the tables of all workers, on DuckDB, in a process of its own for each query.

=================  =========================================================================
``catalogue``      what tables there are, and what their columns are in SQL
``statement``      what a query may be, and which tables it reads
``limits``         how much a query may use
``messages``       what the worker and the query's process say to each other
``process``        the query's process
``run``            the worker's side of it: at most so many at once, ended when their time is over
``result``         the rows that came out, read from their file
``loaded``         tables that were loaded a moment ago
``examples``       questions that the page answers with one click
=================  =========================================================================
"""
