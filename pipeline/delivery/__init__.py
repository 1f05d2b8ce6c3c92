"""Which batch is tried when: lanes, retries, caps, fairness, memory, and the durable state of what waits. No Faust, no sockets."""
