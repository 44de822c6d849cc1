"""What makes a run go, free of Dask: tickets, blocks, receiving, the coordinator."""
