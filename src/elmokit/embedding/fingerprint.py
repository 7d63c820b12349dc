"""What tells one model from another, whatever file it came from."""

import hashlib
import json

from elmokit.model.bilm import BiLM


def fingerprint(bilm: BiLM) -> bytes:
    """Give the SHA-256 of a model: of its sizes and clips, and of all weights as float32, by name."""
    digest = hashlib.sha256(json.dumps(bilm.config.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(bilm.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.digest()
