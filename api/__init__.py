"""HTTP in: routes, validation and errors. The only part of the proxy that knows Flask."""
