/*
 * store/ldap.c - a recipient asked of an LDAP directory (RFC 4511), with our own time limits.
 *
 * Runs in a thread of the keeper, which keeps its connections. What a stranger wrote gets into a
 * filter only escaped (RFC 4515 3). Never follows referrals, never writes.
 */
#include <ldap.h>
#include <sys/time.h>

#include "store/directory.h"

#define CONNECTIONS 8u
#define TIME_S      5 /* for connecting, and for each answer */

struct ldap_link {
    LDAP *ld;
    char *url; /* as in the settings, with the name bound as: what tells links apart */
};
struct ldap_cache {
    struct ldap_link links[CONNECTIONS];
    unsigned next; /* to be replaced */
};

struct ldap_cache *
ldap_cache_create(void)
{
    return calloc(1, sizeof(struct ldap_cache));
}

static void
link_close(struct ldap_link *link)
{
    if (link->ld)
        ldap_unbind_ext_s(link->ld, NULL, NULL);
    free(link->url);
    *link = (struct ldap_link){0};
}

void
ldap_cache_free(struct ldap_cache *cache)
{
    for (unsigned i = 0; cache && i < CONNECTIONS; i++)
        link_close(&cache->links[i]);
    free(cache);
}

static void
put_escaped(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];

        if (c == '*' || c == '(' || c == ')' || c == '\\' || c < 32 || c > 126)
            buf_fmt(out, "\\%02x", c);
        else
            buf_char(out, (char)c);
    }
}

void
ldap_filter(struct buf *out, const struct lookup *l)
{
    for (size_t i = 0; i < l->query.n; i++) {
        char c = l->query.p[i];
        char what = c == '%' && i + 1 < l->query.n ? l->query.p[i + 1] : '\0';

        i += what == 's' || what == 'u' || what == 'd' || what == '%';
        if (what == 's')
            put_escaped(out, l->address);
        else if (what == 'u')
            put_escaped(out, l->local);
        else if (what == 'd')
            put_escaped(out, l->domain);
        else
            buf_char(out, c);
    }
    buf_char(out, '\0');
}

static int
link_open(struct ldap_link *link, const LDAPURLDesc *url, struct lookup *l)
{
    struct timeval wait = {.tv_sec = TIME_S};
    struct berval password = {.bv_val = (char *)(uintptr_t)l->password.p, .bv_len = l->password.n};
    int version = LDAP_VERSION3;
    char *server = NULL;
    LDAPURLDesc bare = *url;
    int r;

    /* scheme, host and port only */
    bare.lud_dn = NULL;
    bare.lud_attrs = NULL;
    bare.lud_filter = NULL;
    bare.lud_exts = NULL;
    bare.lud_scope = LDAP_SCOPE_DEFAULT;
    server = ldap_url_desc2str(&bare);
    if (!server)
        return LDAP_NO_MEMORY;
    r = ldap_initialize(&link->ld, server);
    ldap_memfree(server);
    if (r != LDAP_SUCCESS)
        return r;
    ldap_set_option(link->ld, LDAP_OPT_PROTOCOL_VERSION, &version);
    ldap_set_option(link->ld, LDAP_OPT_NETWORK_TIMEOUT, &wait);
    ldap_set_option(link->ld, LDAP_OPT_TIMEOUT, &wait);
    ldap_set_option(link->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    ldap_set_option(link->ld, LDAP_OPT_RESTART, LDAP_OPT_ON);
    return ldap_sasl_bind_s(link->ld, l->bind.n ? l->bind.p : NULL, LDAP_SASL_SIMPLE,
                            l->bind.n ? &password : &(struct berval){0}, NULL, NULL, NULL);
}

/* The connection of that URL and name: an open one, or a new one in the oldest's place. */
static struct ldap_link *
link_find(struct ldap_cache *cache, const LDAPURLDesc *url, struct lookup *l, int *ret_error)
{
    struct ldap_link *link;
    char *name = NULL;
    size_t n = l->place.n + l->bind.n + 2;

    name = malloc(n);
    if (!name) {
        *ret_error = LDAP_NO_MEMORY;
        return NULL;
    }
    str_fmt(name, n, "%s %s", l->place.p, l->bind.n ? l->bind.p : "");
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        link = &cache->links[i];
        if (!link->ld || strcmp(link->url, name))
            continue;
        free(name);
        return link;
    }
    link = &cache->links[cache->next++ % CONNECTIONS];
    link_close(link);
    link->url = name;
    *ret_error = link_open(link, url, l);
    if (*ret_error == LDAP_SUCCESS)
        return link;
    link_close(link);
    return NULL;
}

static void
take_entry(struct lookup *l, LDAP *ld, LDAPMessage *entry, char **attrs)
{
    l->result = LOOKUP_FOUND;
    for (char **a = attrs; a && *a && l->result != LOOKUP_TEMPORARY; a++) {
        struct berval **values = ldap_get_values_len(ld, entry, *a);

        for (int i = 0; values && values[i] && l->result != LOOKUP_TEMPORARY; i++) {
            struct str value = str_of(values[i]->bv_val, values[i]->bv_len);

            if (str_chr(value, '@') > 0 && !str_ieq(value, l->address))
                directory_lookup_add(l, value);
        }
        ldap_value_free_len(values);
    }
}

static int
search(struct ldap_link *link, const LDAPURLDesc *url, const char *filter, struct lookup *l)
{
    static char none[] = LDAP_NO_ATTRS;
    char *no_attrs[] = {none, NULL};
    struct timeval wait = {.tv_sec = TIME_S};
    LDAPMessage *got = NULL;
    int scope = url->lud_scope == LDAP_SCOPE_DEFAULT ? LDAP_SCOPE_SUBTREE : url->lud_scope;
    int r = ldap_search_ext_s(link->ld, url->lud_dn, scope, filter,
                              url->lud_attrs ? url->lud_attrs : no_attrs, 0, NULL, NULL, &wait,
                              (int)LOOKUP_ADDRESSES, &got);

    if (r == LDAP_SUCCESS)
        for (LDAPMessage *e = ldap_first_entry(link->ld, got); e; e = ldap_next_entry(link->ld, e))
            take_entry(l, link->ld, e, url->lud_attrs);
    ldap_msgfree(got);
    return r;
}

static void
ask(struct ldap_cache *cache, const LDAPURLDesc *url, const char *filter, struct lookup *l)
{
    int r = LDAP_OTHER;

    for (unsigned try = 0; try < 2; try++) {
        struct ldap_link *link = link_find(cache, url, l, &r);

        if (!link)
            break;
        r = search(link, url, filter, l);
        if (r != LDAP_SERVER_DOWN && r != LDAP_TIMEOUT && r != LDAP_UNAVAILABLE)
            break;
        link_close(link); /* an idle connection that was closed: once more on a new one */
        if (r == LDAP_TIMEOUT)
            break;
    }
    if (r != LDAP_SUCCESS)
        directory_lookup_failed(l, "the directory %s: %s", l->place.p, ldap_err2string(r));
}

void
ldap_lookup(struct ldap_cache *cache, struct lookup *l)
{
    LDAPURLDesc *url = NULL;
    struct buf filter;

    buf_init(&filter, 64u << 10);
    ldap_filter(&filter, l);
    if (filter.failed)
        directory_lookup_failed(l, "the LDAP filter is too long");
    else if (ldap_url_parse(l->place.p, &url) != LDAP_URL_SUCCESS)
        directory_lookup_failed(l, "%s is not an LDAP URL", l->place.p);
    else
        ask(cache, url, filter.p, l);
    ldap_free_urldesc(url);
    buf_done(&filter);
}
