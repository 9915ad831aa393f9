"""Named workloads, side by side with redis-server in one run."""
