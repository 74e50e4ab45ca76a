"""What `wakegate status` and `wakegate explain` show, from documents that were read before. Pure.

Asking anybody does not belong here: see `wiring/inspection.py`.
"""
