"""A third party's plugins for limadask: the examples of its plugin guide."""
