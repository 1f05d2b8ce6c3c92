"""Faust's side of Distributary: the chunk engine, one agent a stage, and the command line.

The flow, in the order of reading: ``topology`` (topics and tables), ``route``, ``window``, ``deliver``, wired in ``app``;
``engine`` is what they stand on, ``observe`` what they show, ``commands`` how people start them.
"""
