/*
 * auth/psl.c - libpsl behind the house's types.
 *
 * Called where settings are loaded (open) and by DMARC (look-up). Never fetches a list.
 */
#include <libpsl.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/psl.h"

struct psl {
    psl_ctx_t *ctx;
};

/* Takes ctx over. */
static int
psl_of(psl_ctx_t *ctx, struct psl **ret, struct why *why, const char *what)
{
    struct psl *p = calloc(1, sizeof(*p));

    if (!p) {
        psl_free(ctx);
        return why_set(why, ERR_NOMEM, "no memory for the Public Suffix List");
    }
    p->ctx = ctx;
    if (!ctx || psl_suffix_count(ctx) == 0) {
        psl_close(p);
        return why_set(why, ERR_SYNTAX, "%s cannot be read as a Public Suffix List", what);
    }
    *ret = p;
    return 0;
}

int
psl_open(const char *path, struct psl **ret, struct why *why)
{
    return psl_of(psl_load_file(path), ret, why, path);
}

int
psl_read(struct str text, struct psl **ret, struct why *why)
{
    /* The stream only reads: libpsl does not change what it is given. */
    FILE *f = text.n ? fmemopen((void *)(uintptr_t)text.p, text.n, "r") : NULL;
    psl_ctx_t *ctx = f ? psl_load_fp(f) : NULL;

    if (f)
        (void)fclose(f);
    return psl_of(ctx, ret, why, "the file of verify.psl");
}

void
psl_close(struct psl *p)
{
    if (!p)
        return;
    psl_free(p->ctx);
    free(p);
}

struct str
psl_registrable(const struct psl *p, struct str domain)
{
    char text[256];
    const char *found;

    if (!domain.n || domain.p[0] == '.' || !str_copy(domain, text, sizeof(text)))
        return STR_NONE;
    str_lower(text, domain.n);
    found = psl_registrable_domain(p->ctx, text);
    return found ? str_from(domain, (size_t)(found - text)) : STR_NONE;
}
