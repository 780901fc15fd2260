"""What tests of several packages share: builders, strategies and contracts."""
