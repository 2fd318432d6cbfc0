"""Phase 2: batches become weights."""
