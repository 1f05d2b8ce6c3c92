"""From the source topic's records to the routed topic's frames: decode, match, route. No I/O, no Faust."""
