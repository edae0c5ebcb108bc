"""`charter demo`: the whole job on real parts, unattended; each step checks what it claims."""
