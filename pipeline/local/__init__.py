"""Apache Kafka and Redis on this machine, from Python packages alone: see ``pipeline.local.servers``."""
