"""Networks on disk: safetensors and JSON with checksums, no pickle.

Hands out: artifact_store, checkpoint, epochs, manifest, pretrained, record.
"""
