/*
 * auth/rows.c - rows of DKIM and ARC for the field and for events.
 *
 * Called by auth/evidence.c. Views into the message, as all rows are.
 */
#include "auth/rows.h"

void
auth_rows_dkim(struct authres *a, const struct dkim_result *d)
{
    struct authres_result *r = authres_add(a, STR("dkim"), str_c(dkim_status_name(d->status)));
    size_t n = 0;

    if (!r)
        return;
    while (n < d->b.n && n < 8 && d->b.p[n] > ' ') /* RFC 6008; b= may be folded anywhere */
        n++;
    if (d->status != DKIM_PASS)
        r->reason = str_c(dkim_reason_text(d->reason));
    authres_prop(r, STR("header"), STR("d"),
                 d->domain_ascii[0] ? str_c(d->domain_ascii) : d->domain);
    authres_prop(r, STR("header"), STR("i"), d->identity);
    authres_prop(r, STR("header"), STR("s"), d->selector);
    if (d->alg != DKIM_ALG_NONE)
        authres_prop(r, STR("header"), STR("a"), str_c(dkim_alg_name(d->alg)));
    authres_prop(r, STR("header"), STR("b"), str_sub(d->b, 0, n));
}

void
auth_rows_arc(struct authres *a, const struct arc_result *c)
{
    struct authres_result *r = authres_add(a, STR("arc"), str_c(arc_cv_name(c->cv)));

    if (r && c->cv != ARC_PASS && c->cv != ARC_NONE)
        r->reason = str_c(c->text);
}
