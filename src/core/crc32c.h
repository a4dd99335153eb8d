/*
 * core/crc32c.h - CRC-32C (Castagnoli), by the SSE4.2 instruction where the machine has it.
 *
 * Chains: crc32c(crc32c(seed, a), b) equals crc32c(seed, ab). Starts from any seed (0 for plain);
 * the pre- and post-inversion is inside, so crc32c(0, "123456789", 9) == 0xe3069283.
 */
#ifndef GAPURA_CORE_CRC32C_H
#define GAPURA_CORE_CRC32C_H

#include "core/base.h"

uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The table version, for the test that compares both. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
