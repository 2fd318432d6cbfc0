"""Phase 3: better steps."""
