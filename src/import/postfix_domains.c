/*
 * import/postfix_domains.c - served domains: where their mail goes, who is there, aliases.
 *
 * Called by postfix.c. Postfix's own delivery into files has no equivalent: such a domain gets a
 * placeholder and a note, for somebody must say which server takes its mail.
 */
#include "import/hop.h"
#include "import/inner.h"

#define PLACEHOLDER "smtp://127.0.0.1:2525"

struct served {
    struct str name;
    const char *class;     /* the parameter that lists it */
    const char *transport; /* the parameter that says where its mail goes by default */
    const char *people;    /* the parameter that lists its recipients, or NULL */
    struct served *next;
};
struct domains {
    struct import *im;
    struct served *first, **last;
};

static bool
is_served(const struct domains *d, struct str name)
{
    for (const struct served *s = d->first; s; s = s->next)
        if (str_ieq(s->name, name))
            return true;
    return false;
}

static void
serve(struct domains *d, struct str name, const char *class, const char *transport,
      const char *people)
{
    struct served *s;

    if (str_eq(name, STR("localhost")) || str_starts(name, STR("localhost.")) || is_served(d, name))
        return;
    if (!domain_like(name) || str_chr(name, '.') < 0) {
        note(d->im, class, "\"%.*s\" is no domain that mail from outside could be for",
             STR_ARG(str_sub(name, 0, 100)));
        return;
    }
    s = ARENA_NEW(&d->im->cf.arena, struct served);
    if (!s)
        return;
    *s = (struct served){name, class, transport, people, NULL};
    *d->last = s;
    d->last = &s->next;
}

static void
serve_list(struct domains *d, const char *class, const char *transport, const char *people)
{
    for (const struct entry *e = tables_list(d->im, class); e; e = e->next)
        serve(d, e->key, class, transport, people);
}

/* What virtual_alias_domains is unless it is set: keys of virtual_alias_maps that are domains. */
static void
serve_aliases(struct domains *d)
{
    if (maincf_given(&d->im->cf, "virtual_alias_domains")) {
        serve_list(d, "virtual_alias_domains", NULL, NULL);
        return;
    }
    for (const struct entry *e = d->im->virtuals; e; e = e->next)
        if (str_chr(e->key, '@') < 0 && str_chr(e->key, '.') >= 0 && domain_like(e->key))
            serve(d, e->key, "virtual_alias_maps", NULL, NULL);
}

/* ---- aliases ---- */

static struct str
origin(struct import *im)
{
    struct str text, rest, name = maincf_get(&im->cf, "myorigin");

    if (name.n && name.p[0] == '/' && maincf_file(&im->cf.arena, name, &text) == 0)
        name = str_trim(str_cut(text, '\n', &rest));
    return name;
}

static void
put_target(struct domains *d, struct buf *out, struct str to, struct str domain, bool *ret_any)
{
    struct str elsewhere;

    if (to.p[0] == '\\')
        to = str_from(to, 1);
    buf_c(out, *ret_any ? ", " : " ");
    buf_str(out, to);
    *ret_any = true;
    str_cut(to, '@', &elsewhere);
    if (str_chr(to, '@') < 0) {
        buf_char(out, '@');
        buf_str(out, domain);
        elsewhere = domain;
    }
    d->im->srs |= !is_served(d, elsewhere);
}

/* One line of our table, or a note for what only Postfix's local(8) can do. */
static void
put_alias(struct domains *d, struct buf *out, struct str from, const struct entry *e,
          struct str domain, const char *name)
{
    size_t before = out->n;
    struct str rest = e->value, word;
    bool any = false;

    buf_str(out, from);
    buf_char(out, ':');
    while ((word = maincf_word(&rest)).n) {
        if (strchr("|/\"", word.p[0]) || str_istarts(word, STR(":include:"))) {
            note(d->im, name, "%.*s: programs, files and :include: are no targets here",
                 STR_ARG(str_sub(e->key, 0, 100)));
            break;
        }
        put_target(d, out, word, domain, &any);
    }
    if (any)
        buf_char(out, '\n');
    else
        out->n = before;
}

static void
import_aliases(struct domains *d, const struct served *s)
{
    CLEANUP(buf_done) struct buf out = {0};
    bool local = !strcmp(s->class, "mydestination");
    struct import *im = d->im;
    struct str file, mine = origin(im);

    buf_init(&out, 16u << 20);
    for (const struct entry *e = im->virtuals; e; e = e->next) {
        struct str domain, who = str_cut(e->key, '@', &domain);
        bool bare = str_chr(e->key, '@') < 0;

        if (bare ? str_ieq(mine, s->name) && str_chr(e->key, '.') < 0 : str_ieq(domain, s->name))
            put_alias(d, &out, who.n ? who : e->key, e, mine, "virtual_alias_maps");
    }
    for (const struct entry *e = local ? im->locals : NULL; e; e = e->next)
        put_alias(d, &out, e->key, e, s->name, "alias_maps");
    if (!out.n)
        return;
    file = beside(im, arena_fmt(&im->cf.arena, "aliases-%.*s", STR_ARG(s->name)).p, 0644,
                  buf_view(&out));
    if (file.n)
        put(im, "    aliases = %.*s", STR_ARG(file));
    else
        note(im, local ? "alias_maps" : "virtual_alias_maps",
             "aliases of %.*s: give -o FILE, then they are written to a table beside it",
             STR_ARG(s->name));
}

/* ---- recipients ---- */

static bool
import_people(struct domains *d, const struct served *s)
{
    CLEANUP(buf_done) struct buf out = {0};
    struct import *im = d->im;
    struct str file;

    buf_init(&out, 16u << 20);
    if (!s->people || !maincf_given(&im->cf, s->people))
        return false;
    for (const struct entry *e = tables_read(im, s->people, false); e; e = e->next) {
        struct str domain, who = str_cut(e->key, '@', &domain);

        if (!str_ieq(domain, s->name))
            continue;
        if (!who.n) {
            put(im, "    recipients = any");
            return true;
        }
        buf_str(&out, e->key);
        buf_char(&out, '\n');
    }
    if (!out.n)
        return false;
    file = beside(im, arena_fmt(&im->cf.arena, "recipients-%.*s", STR_ARG(s->name)).p, 0644,
                  buf_view(&out));
    if (!file.n) {
        note(im, s->people, "recipients of %.*s: give -o FILE, then they are written to a table",
             STR_ARG(s->name));
        return false;
    }
    put(im, "    recipients = table");
    put(im, "    recipient_table = %.*s", STR_ARG(file));
    return true;
}

/* Its line in transport_maps, else what its class says. */
static struct hop
hop_for(struct import *im, const struct served *s)
{
    const struct entry *e = tables_find(im->transports, s->name);
    struct str value = STR_NONE;

    if (e)
        return hop_of(im, e->value);
    if (!strcmp(s->class, "mydestination") && maincf_given(&im->cf, "mailbox_transport"))
        value = maincf_get(&im->cf, "mailbox_transport");
    else if (s->transport)
        value = maincf_get(&im->cf, s->transport);
    return hop_of(im, value);
}

static void
import_domain(struct domains *d, const struct served *s)
{
    struct import *im = d->im;
    struct hop hop = hop_for(im, s);
    struct str delimiter = maincf_get(&im->cf, "recipient_delimiter");

    put(im, "\ndomain %.*s {", STR_ARG(s->name));
    if (!s->transport) { /* every recipient is an alias */
        put(im, "    inside = " PLACEHOLDER);
        if (im->out_file && beside(im, "recipients-none", 0644, STR("# nobody but aliases\n")).n) {
            put(im, "    recipients = table");
            put(im, "    recipient_table = recipients-none");
        }
    } else if (hop.kind == HOP_MX) {
        put(im, "    role = backup");
        (void)import_people(d, s);
    } else {
        bool known = hop.kind == HOP_HOST;

        if (!known)
            note(im, s->transport,
                 "%.*s was delivered by Postfix itself; its inside server is " PLACEHOLDER
                 " now, a placeholder: name the server (SMTP or LMTP) that keeps its mailboxes; "
                 "until recipients says who is there (table, callout), every name is taken",
                 STR_ARG(s->name));
        if (hop.by_mx)
            note(im, "transport_maps",
                 "%.*s: Postfix asked for MX records of that host, Gapura "
                 "connects to the host itself",
                 STR_ARG(s->name));
        if (known)
            put(im, "    inside = %.*s", STR_ARG(hop.text));
        else
            put(im, "    inside = " PLACEHOLDER);
        if (!import_people(d, s))
            put(im, "    recipients = %s", known ? "callout" : "any");
    }
    import_aliases(d, s);
    if (delimiter.n)
        put(im, "    delimiter = \"%.*s\"", STR_ARG(delimiter));
    put(im, "}");
}

/* A name in relay_domains meant all below it too, unless main.cf says otherwise. */
static void
note_subdomains(struct import *im)
{
    struct str rest = maincf_get(&im->cf, "parent_domain_matches_subdomains"), word;
    bool matches = !maincf_given(&im->cf, "parent_domain_matches_subdomains");

    while ((word = maincf_word(&rest)).n)
        matches |= str_eq(word, STR("relay_domains"));
    if (matches && maincf_given(&im->cf, "relay_domains"))
        note(im, "relay_domains",
             "Postfix took mail for subdomains of these too (parent_domain_matches_subdomains); "
             "here each domain that is served has a block of its own");
}

void
import_domains(struct import *im)
{
    struct domains d = {.im = im, .last = &d.first};

    im->transports = tables_read(im, "transport_maps", false);
    im->virtuals = tables_read(im, "virtual_alias_maps", false);
    im->locals = tables_read(im, "alias_maps", true);
    maincf_get(&im->cf, "alias_database");
    serve_list(&d, "mydestination", "local_transport", NULL);
    if (maincf_given(&im->cf, "virtual_mailbox_domains"))
        serve_list(&d, "virtual_mailbox_domains", "virtual_transport", "virtual_mailbox_maps");
    serve_list(&d, "relay_domains", "relay_transport", "relay_recipient_maps");
    note_subdomains(im);
    serve_aliases(&d);
    maincf_get(&im->cf, "local_recipient_maps");
    for (const struct served *s = d.first; s; s = s->next) {
        import_domain(&d, s);
        struct entry *e = (struct entry *)(uintptr_t)tables_find(im->transports, s->name);
        if (e)
            e->value = STR_NONE; /* dealt with */
    }
    if (im->srs)
        note(im, "virtual_alias_maps",
             "some aliases lead to domains of other people: they work when a block srs { domain = "
             "...; secret = FILE } is there (gapura.conf(5))");
}
