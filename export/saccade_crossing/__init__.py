"""The demo bundle: data, found by name through the entry-point group ``saccade.bundles``."""
