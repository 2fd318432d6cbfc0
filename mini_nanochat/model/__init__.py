"""Phase 1: ids become predictions."""
