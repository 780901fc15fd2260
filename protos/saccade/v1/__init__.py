"""The generated code of the wire contract, version 1."""
