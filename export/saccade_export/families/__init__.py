"""Model families: one small file each behind the contract of `base`."""
