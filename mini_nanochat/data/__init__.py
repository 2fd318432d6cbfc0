"""Phase 0: documents on disk, and the batches that a model trains on."""
