/*
 * auth/psl.c - libpsl behind the house's types.
 *
 * Called where settings are loaded (open) and by DMARC (look-up). Never fetches a list.
 */
#include <libpsl.h>

#include "auth/psl.h"

struct psl {
    psl_ctx_t *ctx;
};

int
psl_open(const char *path, struct psl **ret, struct why *why)
{
    struct psl *p = calloc(1, sizeof(*p));

    if (!p)
        return why_set(why, ERR_NOMEM, "no memory for the Public Suffix List");
    p->ctx = psl_load_file(path);
    if (!p->ctx || psl_suffix_count(p->ctx) == 0) {
        psl_close(p);
        return why_set(why, ERR_SYNTAX, "%s cannot be read as a Public Suffix List", path);
    }
    *ret = p;
    return 0;
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
