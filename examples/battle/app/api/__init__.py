"""The HTTP endpoints: they translate between JSON and the services, and decide nothing."""
