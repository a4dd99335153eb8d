/*
 * store/rights.c - what a login may write as: folding, encoding, and the question itself. Pure.
 *
 * Called by users.c when it publishes, and by the gate for MAIL FROM and the From field.
 */
#include "store/users.h"

#include "core/wire.h"

int
login_fold(struct str login, char dst[LOGIN_MAX + 1], struct str *ret)
{
    if (!login.n || login.n > LOGIN_MAX || str_has_ctl(login) || !str_is_utf8(login))
        return ERR_SYNTAX;
    memcpy(dst, login.p, login.n);
    dst[login.n] = '\0';
    str_lower(dst, login.n);
    *ret = str_of(dst, login.n);
    return 0;
}

void
user_rights_encode(struct buf *out, const struct user_rights *r)
{
    put_u8(out, 1); /* form */
    put_u32(out, r->tenant);
    put_u8(out, r->class);
    put_str(out, r->envelope);
    put_str(out, r->from);
}

int
user_rights_decode(struct str in, struct user_rights *ret)
{
    struct user_rights r;
    struct wire w;

    wire_init(&w, in.p, in.n);
    if (wire_u8(&w) != 1)
        return ERR_VERSION;
    r.tenant = wire_u32(&w);
    r.class = wire_u8(&w);
    r.envelope = wire_str(&w);
    r.from = wire_str(&w);
    if (!wire_end(&w))
        return ERR_CORRUPT;
    *ret = r;
    return 0;
}

/* Address, domain, .domain (and all below it), or *. */
static bool
entry_allows(struct str entry, struct str address, struct str domain)
{
    if (str_eq(entry, STR("*")))
        return true;
    if (str_chr(entry, '@') >= 0)
        return str_ieq(entry, address);
    if (entry.n > 1 && entry.p[0] == '.')
        return str_iends(domain, entry) || str_ieq(domain, str_from(entry, 1));
    return entry.n && str_ieq(entry, domain);
}

bool
user_may_use(struct str entries, struct str address, struct str login)
{
    ssize_t at = str_rchr(address, '@');
    struct str domain = at < 0 ? STR_NONE : str_from(address, (size_t)at + 1);

    if (!address.n || str_ieq(address, login))
        return true;
    while (entries.n) {
        struct str entry = str_cut(entries, '\0', &entries);

        if (entry_allows(entry, address, domain))
            return true;
    }
    return false;
}
