"""``faust.yml`` and the environment, read and checked."""
