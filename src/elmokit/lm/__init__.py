"""What a language model says of text."""
