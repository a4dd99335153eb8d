/*
 * fuzz/fuzz_srs.c - rewritten senders from any bytes: what is not signed by us leads nowhere, and
 * what is rewritten finds its way back. The first byte is the day.
 */
#include "gate/srs.h"
#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint64_t day_s = 86400;
    struct str s = str_of((const char *)data, n);
    char there[SRS_MAX + 1], back[SRS_MAX + 1];
    struct address a;
    struct srs srs;

    if (!n)
        return 0;
    srs_init(&srs, STR("ours.test"), STR("a secret of the house"), 21);
    uint64_t now = (20000 + (uint64_t)data[0]) * day_s;
    s = str_from(s, 1);
    srs_is(s);
    ssize_t got = srs_reverse(&srs, s, now, back, sizeof(back));
    ENSURE(got < (ssize_t)sizeof(back));
    if (address_parse(s, 0, &a) < 0)
        return 0; /* no other sender comes as far as this */
    got = srs_forward(&srs, s, now, there, sizeof(there));
    ENSURE(got < (ssize_t)sizeof(there));
    if (got <= 0 || str_eq(str_of(there, (size_t)got), s))
        return 0;
    struct str made = str_of(there, (size_t)got);
    size_t at = (size_t)str_rchr(made, '@'); /* a quoted local part may have others */
    struct str local = str_sub(made, 0, at), domain = str_from(made, at + 1);
    ENSURE(srs_is(local) && str_eq(domain, STR("ours.test")));
    ENSURE(address_parse(made, 0, &a) == 0 || got > 254);
    got = srs_reverse(&srs, local, now, back, sizeof(back));
    ENSURE(got > 0 && address_parse(str_of(back, (size_t)got), 0, &a) == 0);
    if (srs_is(str_sub(s, 0, (size_t)str_rchr(s, '@'))))
        return 0; /* somebody else's: SRS1 has no time in it */
    ENSURE(srs_reverse(&srs, local, now + 30 * day_s, back, sizeof(back)) < 0);
    return 0;
}
