/* tests/unit/test_core_crc32c.c - known values, and the instruction against the tables. */
#include "core/crc32c.h"
#include "tap.h"

int
main(void)
{
    static uint8_t data[20000];
    bool same = true, chains = true;
    uint32_t seed = 99;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 16);
    OK(crc32c(0, "123456789", 9) == 0xe3069283, "check value");
    OK(crc32c_portable(0, "123456789", 9) == 0xe3069283, "check value by tables");
    uint8_t zeros[32] = {0};
    OK(crc32c(0, zeros, 32) == 0x8a9136aa, "RFC 3720 B.4: zeros");
    memset(zeros, 0xff, 32);
    OK(crc32c(0, zeros, 32) == 0x62a8ab43, "RFC 3720 B.4: ones");
    OK(crc32c(7, NULL, 0) == 7, "nothing changes nothing");
    for (size_t n = 0; n < 10000; n += n < 100 ? 1 : 37)
        for (size_t at = 0; at < 9; at += 3)
            same = same && crc32c(seed, data + at, n) == crc32c_portable(seed, data + at, n);
    OK(same, "both ways agree for all lengths");
    for (size_t cut = 0; cut < sizeof(data); cut += 501)
        chains = chains && crc32c(crc32c(5, data, cut), data + cut, sizeof(data) - cut) ==
                               crc32c(5, data, sizeof(data));
    OK(chains, "chains");
    return tap_done();
}
