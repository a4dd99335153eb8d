/*
 * fuzz/fuzz_address.c - mailboxes, paths, domains and keys from any bytes.
 *
 * What is accepted must have a key, and a key of ASCII must be an address with the same key.
 */
#include "core/err.h"
#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_key(const struct address *a)
{
    char key[ADDRESS_MAX + 1], again[ADDRESS_MAX + 1], down[ADDRESS_MAX + 1];
    ssize_t n = address_key(a, key, sizeof(key)), m;
    struct address b;

    ENSURE(n >= 0 && (size_t)n < sizeof(key));
    ENSURE(a->local.n <= 254 && a->domain.n <= ADDRESS_DOMAIN_MAX);
    address_downgrade(a->text, down, sizeof(down));
    /* A-labels may be longer than U-labels: only then may the key be too long for an address. */
    if (a->null || address_parse(str_of(key, (size_t)n),
                                 ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_POSTMASTER, &b) < 0) {
        ENSURE(a->null || a->utf8);
        return;
    }
    m = address_key(&b, again, sizeof(again));
    ENSURE(m == n && memcmp(key, again, (size_t)n) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = n ? str_of(data + 1, n - 1) : STR(""), rest;
    unsigned flags = n ? data[0] & 7u : 0;
    char ascii[ADDRESS_DOMAIN_MAX + 1];
    struct address a;

    if (address_parse(text, flags, &a) == 0)
        check_key(&a);
    if (address_path(text, flags, &a, &rest) == 0) {
        ENSURE(rest.n <= text.n);
        check_key(&a);
    }
    if (address_domain_ascii(text, ascii, sizeof(ascii)) > 0)
        ENSURE(address_domain_ok(str_c(ascii)));
    return 0;
}
