"""Text → a model: corpus → shards → streams → losses → checkpoints."""
