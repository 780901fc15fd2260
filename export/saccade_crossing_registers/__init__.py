"""The demo bundle with learned registers: data, found as ``saccade_crossing`` is."""
