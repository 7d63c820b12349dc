"""Every format on disk ↔ one `Checkpoint` in memory: configuration, tensors, vocabulary."""
