"""What the nouns are. No I/O, no time, no Faust."""
