"""Further uses of the vectors: what they know of word senses."""
