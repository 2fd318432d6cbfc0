"""Phase 0: text becomes ids, and ids become text again. Needs no torch."""
