"""The demo bundle's training recipe."""
