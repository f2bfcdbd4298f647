"""Central keys of provider instances: pools, failures, affinity, and sends of a request. Pure."""
