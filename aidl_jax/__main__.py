"""`python -m aidl_jax` is the command `aidl`."""

from aidl_jax.cli import main

main()
