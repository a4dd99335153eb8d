/*
 * fuzz/fuzz_authres.c - header blocks from any bytes: the author, the filter,
 * Authentication-Results and DMARC records.
 *
 * A filtered block holds nothing more to filter, and what we write can be read by our own grammar.
 */
#include "auth/authres.h"
#include "core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_filter(struct str block)
{
    static const struct str ids[] = {{"mx.test", 7}};
    struct buf once, twice;
    unsigned removed = 0;

    buf_init(&once, block.n + 1);
    buf_init(&twice, block.n + 1);
    ENSURE(authres_filter(block, ids, 1, &once, &removed) == 0);
    ENSURE(once.n <= block.n && (removed || once.n == block.n));
    ENSURE(authres_filter(buf_view(&once), ids, 1, &twice, &removed) == 0);
    ENSURE(removed == 0 && twice.n == once.n);
    buf_done(&once);
    buf_done(&twice);
}

static void
check_parse(struct str value)
{
    struct authres *a = calloc(1, sizeof(*a));
    struct arena arena;
    struct buf out;

    arena_init(&arena, 1u << 20);
    buf_init(&out, 1u << 20);
    if (authres_parse(value, &arena, a) == 0)
        authres_write(&out, a);
    buf_done(&out);
    arena_done(&arena);
    free(a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = str_of(data, n);
    struct dmarc_author author;
    struct dmarc_record record;

    dmarc_author(text, &author);
    ENSURE(author.n < sizeof(author.domain));
    ENSURE(author.ndomains <= DMARC_AUTHORS_MAX && (!author.n || author.ndomains == 1));
    (void)dmarc_record_parse(text, &record);
    check_filter(text);
    check_parse(text);
    return 0;
}
