/*
 * tests/shim/shim.h - the page that a test shares with the shim in every role (see shim.c).
 */
#ifndef GAPURA_SHIM_H
#define GAPURA_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

#define SHIM_MAGIC 0x314d494853ull
#define SHIM_ROLES 16
#define SHIM_NAME  16

enum shim_phase {
    SHIM_OUTSIDE = 0,     /* in none of the calls below */
    SHIM_IN_WRITE = 1,    /* inside a write to a segment */
    SHIM_BEFORE_SYNC = 2, /* written, sync not begun or not over */
    SHIM_AFTER_SYNC = 3,  /* the sync has returned, nothing was sent since */
};
/* One row a process name (gate, courier, ...): what it does now, and what shall happen to it. */
struct shim_role {
    char name[SHIM_NAME];
    _Atomic uint32_t pid;
    _Atomic uint32_t phase;
    _Atomic uint64_t writes, syncs; /* of segments, over all lives */
    /* Orders, by the test. Counters count down at each such call; 0 is off. */
    _Atomic uint32_t kill_before_sync; /* SIGKILL itself on entering the n-th sync */
    _Atomic uint32_t kill_after_sync;  /* ... when the n-th sync has returned */
    _Atomic uint32_t kill_in_write;    /* ... after half of the n-th write */
    _Atomic uint32_t fail_write, fail_write_errno;
    _Atomic uint32_t fail_sync, fail_sync_errno;
    _Atomic uint32_t sync_delay_ms;
    _Atomic uint32_t kills[4];      /* carried out, by enum shim_phase */
    _Atomic uint32_t failed;        /* calls failed on order */
    _Atomic uint32_t full;          /* 1: every write fails with ENOSPC until 0 again */
    _Atomic uint32_t read_delay_ms; /* of a large read of a segment */
    uint32_t unused;
};
struct shim_page {
    uint64_t magic;
    uint64_t _reserved;
    struct shim_role roles[SHIM_ROLES];
};

#endif
