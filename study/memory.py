"""The C library's heap."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_heap() -> bool:
    """Tells glibc to keep freed memory instead of returning it: large tensors then cost no fresh page faults.

    For the whole process, from now on; its memory stays at the peak. Returns whether it was done: on other C
    libraries, where nothing happens, False.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
