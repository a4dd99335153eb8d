/*
 * fuzz/fuzz_header.c - header blocks from any bytes: fields, unfolding, mailboxes, and the scan,
 * which must come to the same result however the bytes are cut.
 */
#include "core/err.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int
touch(void *ctx, struct str mailbox)
{
    *(size_t *)ctx += mailbox.n;
    ENSURE(mailbox.n > 2 && str_chr(mailbox, '@') > 0);
    return 0;
}

static unsigned
fields(struct str block)
{
    char flat[256];
    struct header_field f;
    size_t at = 0, before = 0, sum = 0;
    unsigned received = 0;
    int rc;

    while ((rc = header_next(block, &at, &f)) != 0) {
        ENSURE(at > before && at <= block.n);
        before = at;
        if (rc < 0)
            continue;
        ENSURE(f.name.n && f.value.n < f.line.n);
        ENSURE(header_unfold(f.value, flat, sizeof(flat)) <= sizeof(flat));
        header_mailboxes(f.value, touch, &sum);
        received += str_ieq(f.name, STR("Received"));
    }
    return received;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str block = str_of(data, n);
    struct header_scan whole, pieces;
    size_t step = n ? 1 + data[0] % 9u : 1;

    header_scan_init(&whole);
    header_scan_feed(&whole, block.p, n);
    ENSURE(fields(block) == whole.received);
    header_scan_init(&pieces);
    for (size_t at = 0; at < n; at += step)
        header_scan_feed(&pieces, block.p + at, MIN(step, n - at));
    ENSURE(whole.bytes == pieces.bytes && whole.received == pieces.received);
    ENSURE(whole.done == pieces.done && whole.eight_bit == pieces.eight_bit);
    ENSURE(whole.bytes <= n);
    ENSURE(str_eq(header_scan_message_id(&whole), header_scan_message_id(&pieces)));
    return 0;
}
