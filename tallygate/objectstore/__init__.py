"""Object stores: where inputs, results and logs lie, by URL."""
