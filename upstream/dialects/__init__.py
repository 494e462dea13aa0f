"""How each kind of server is spoken to. A dialect is one pure module: bytes in, bytes out, no I/O."""
