/*
 * core/crc32c.c - CRC-32C by the processor's instruction, three lanes at once, or by tables.
 *
 * Called for every record written to or read from disk. Never allocates; the tables are made before
 * main.
 */
#include "core/crc32c.h"

#define CRC_POLY UINT32_C(0x82f63b78) /* Castagnoli, bits reversed */

static uint32_t crc_table[8][256];

/* Without the inversions: what the register holds after n bytes. */
static uint32_t
crc_raw(uint32_t crc, const uint8_t *p, size_t n)
{
    while (n >= 8) {
        uint32_t low =
            crc ^ (p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);

        crc = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^
              crc_table[5][low >> 16 & 255] ^ crc_table[4][low >> 24] ^ crc_table[3][p[4]] ^
              crc_table[2][p[5]] ^ crc_table[1][p[6]] ^ crc_table[0][p[7]];
        p += 8;
        n -= 8;
    }
    while (n--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p++) & 255];
    return crc;
}

uint32_t
crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    return ~crc_raw(~crc, p, n);
}

static void
crc_make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? CRC_POLY : 0);
        crc_table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (unsigned t = 1; t < 8; t++)
            crc_table[t][i] = crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 255];
}

#if defined(__x86_64__)

#define CRC_LANE 1024 /* bytes of each of the three lanes; the instruction's latency is 3 */

static uint32_t (*crc_best)(uint32_t crc, const uint8_t *p, size_t n) = crc_raw;
/* The register after CRC_LANE zero bytes, a table for each byte of the register. */
static uint32_t crc_shift[4][256];

static void
crc_make_shift(void)
{
    static const uint8_t zeros[CRC_LANE];
    uint32_t bits[32];

    for (unsigned i = 0; i < 32; i++)
        bits[i] = crc_raw(UINT32_C(1) << i, zeros, sizeof(zeros));
    for (unsigned t = 0; t < 4; t++)
        for (unsigned v = 0; v < 256; v++)
            for (unsigned bit = 0; bit < 8; bit++)
                if (v >> bit & 1)
                    crc_shift[t][v] ^= bits[8 * t + bit];
}

static inline uint32_t
crc_shifted(uint32_t crc)
{
    return crc_shift[0][crc & 255] ^ crc_shift[1][crc >> 8 & 255] ^ crc_shift[2][crc >> 16 & 255] ^
           crc_shift[3][crc >> 24];
}

static inline uint64_t
crc_load(const uint8_t *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return w;
}

/* CRC is linear: lanes begun from 0 are joined by shifting the earlier ones over the later. */
__attribute__((target("sse4.2"))) static uint32_t
crc_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
    uint64_t a = crc;

    for (; n >= 3 * CRC_LANE; n -= 3 * CRC_LANE, p += 3 * CRC_LANE) {
        uint64_t b = 0, c = 0;

        for (size_t i = 0; i < CRC_LANE; i += 8) {
            a = __builtin_ia32_crc32di(a, crc_load(p + i));
            b = __builtin_ia32_crc32di(b, crc_load(p + CRC_LANE + i));
            c = __builtin_ia32_crc32di(c, crc_load(p + 2 * CRC_LANE + i));
        }
        a = crc_shifted((uint32_t)a) ^ (uint32_t)b;
        a = crc_shifted((uint32_t)a) ^ (uint32_t)c;
    }
    for (; n >= 8; n -= 8, p += 8)
        a = __builtin_ia32_crc32di(a, crc_load(p));
    for (; n; n--, p++)
        a = __builtin_ia32_crc32qi((uint32_t)a, *p);
    return (uint32_t)a;
}

__attribute__((constructor)) static void
crc_start(void)
{
    crc_make_tables();
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2"))
        return;
    crc_make_shift();
    crc_best = crc_sse42;
}

uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
    return ~crc_best(~crc, p, n);
}

#else

__attribute__((constructor)) static void
crc_start(void)
{
    crc_make_tables();
}

uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
    return crc32c_portable(crc, p, n);
}

#endif
