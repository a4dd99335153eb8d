/*
 * fuzz/fuzz_conf.c - settings from any text, against the rows of the whole program: either every
 * mistake has a file, a line and a text, or the result says the same when it is read again.
 *
 * A NUL begins the next included file.
 */
#include "core/conf.h"
#include "roles/fixed.h"
#include "roles/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct conf_texts texts;
static char names[8][64];

static void
split(struct str rest)
{
    texts.n = 0;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        bool more = str_chr(rest, 0) >= 0;

        str_fmt(names[i], sizeof names[i], i ? "/etc/gapura/conf.d/%u.conf" : "/etc/gapura/g.conf",
                i);
        texts.items[texts.n++] = (struct conf_text){str_c(names[i]), str_cut(rest, 0, &rest)};
        if (!more)
            break;
    }
}

static unsigned
lines_of(struct str file)
{
    unsigned n = 2; /* the end of the last line may be where something is missing */

    for (size_t i = 0; i < texts.n; i++) {
        if (!str_eq(texts.items[i].path, file))
            continue;
        for (size_t k = 0; k < texts.items[i].text.n; k++)
            n += texts.items[i].text.p[k] == '\n';
    }
    return n;
}

static void
check_errors(const struct conf_errors *errs)
{
    ENSURE(errs->n > 0);
    for (size_t i = 0; i < errs->n; i++) {
        ENSURE(errs->items[i].text.n > 0);
        ENSURE(errs->items[i].line <= lines_of(errs->items[i].file));
    }
}

static void
check_conf(const struct conf *c, const struct conf *again)
{
    CLEANUP(buf_done) struct buf one, two;

    buf_init(&one, 1u << 16);
    buf_init(&two, 1u << 16);
    fixed_encode(&one, c, roles_blocks, roles_nblocks);
    fixed_encode(&two, again, roles_blocks, roles_nblocks);
    ENSURE(!one.failed && str_eq(buf_view(&one), buf_view(&two)));
    ENSURE(c->digest == again->digest);
    for (size_t i = 0; i < roles_nblocks; i++) {
        const struct conf_section *s = conf_first(c, roles_blocks[i]->name);

        ENSURE(s || roles_blocks[i]->labelled);
        for (; s; s = conf_next(s))
            ENSURE(!roles_blocks[i]->labelled || conf_find(c, roles_blocks[i]->name, s->label));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct conf_errors errs = {0}, errs2 = {0};
    struct conf *c = NULL, *again = NULL;

    split(str_of(data, n));
    conf_parse(&c, &texts, roles_blocks, roles_nblocks, 1, &errs);
    if (c) {
        ENSURE(errs.n == 0);
        conf_parse(&again, &texts, roles_blocks, roles_nblocks, 1, &errs2);
        ENSURE(again);
        check_conf(c, again);
    } else {
        check_errors(&errs);
    }
    conf_free(c);
    conf_free(again);
    conf_errors_done(&errs);
    conf_errors_done(&errs2);
    return 0;
}
