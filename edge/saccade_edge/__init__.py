"""Everything that runs beside the camera: from frames to packets on the wire."""
