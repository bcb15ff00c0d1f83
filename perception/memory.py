"""How the C library treats memory that learning has freed."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of settings in glibc's <malloc.h>
KEPT_BYTES = 512 << 20  # of free memory at the heap's end that are not given back
LARGEST_BYTES = 32 << 20  # of a block from the heap; glibc takes no more


def keep_freed() -> None:
    """Keep memory that this process frees for what it allocates next; nothing where the C library is not glibc.

    An update frees its activations and gradients and allocates the same again. By default glibc gives them back to the
    kernel, which then has to clear every page anew; without that, updates and a VAE's steps take a tenth less time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(MMAP_THRESHOLD, LARGEST_BYTES)
