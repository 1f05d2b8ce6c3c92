"""What travels between Distributary and endpoints that speak protobuf: code made from ``proto/``.

``make proto`` makes it, and nothing in ``pipeline.wire.distributary`` is written by hand.
"""
