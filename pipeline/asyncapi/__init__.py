"""What goes in and out, as an AsyncAPI document: made from the code, for people and for code generators."""
