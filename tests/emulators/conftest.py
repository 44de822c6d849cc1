"""What stands here is no test, and programs run in another environment."""

collect_ignore = ["eiger_component.py", "libertem_program.py"]
