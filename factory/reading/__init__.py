"""What a guest's files say, read once for all checks: each module has ``read(image)`` for one subject.

Readers tell what the system would do, not what a line looks like, and let Unreadable through.
"""
