"""limadask on Dask: the only place that touches the internals of distributed."""
