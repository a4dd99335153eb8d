/*
 * bench/seen.h - what became of each message of a run, by its number: a file that load and sink
 * map, so that Message-IDs can be compared as sets and latencies taken end to end.
 */
#ifndef GAPURA_BENCH_SEEN_H
#define GAPURA_BENCH_SEEN_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct seen {
    uint64_t acked;   /* mono ns of the 250, 0 never */
    uint64_t dot;     /* mono ns when the last byte was handed to the kernel */
    uint64_t arrived; /* mono ns when the sink had it first */
    uint32_t copies;  /* times the sink got it */
    uint32_t pad;
};

static inline uint64_t
seen_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline struct seen *
seen_open(const char *path, uint64_t n)
{
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)(n * sizeof(struct seen)))) {
        perror(path);
        exit(2);
    }
    void *p = mmap(NULL, n * sizeof(struct seen), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    return p;
}

#endif
