"""One file a kind of endpoint, and the registry that lists them."""
