"""Pebbleford: a small invented town, its documents, its conversations and its exams, all from one seed."""
