/*
 * lab/banner.c - what listens where, the first mail as a line to paste, and what to ask then.
 *
 * Called by lab.c. Every line of it is run by tests/system/test_lab.py.
 */
#include "lab/banner.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "lab/settings.h"

static bool
is_installed(const char *program)
{
    struct str path = str_c(getenv("PATH"));
    char file[PATH_MAX];

    while (path.n) {
        struct str dir = str_cut(path, ':', &path);

        str_fmt(file, sizeof(file), "%.*s/%s", STR_ARG(dir), program);
        if (dir.n && access(file, X_OK) == 0)
            return true;
    }
    return false;
}

static void
put_provider(struct buf *b, const struct conf_section *s)
{
    const struct settings_provider *p = s->data;
    const struct str *domains = p->domains.items;
    char at[56], names[64] = "";
    size_t n = 0;

    for (size_t i = 0; i < p->domains.n && n + 1 < sizeof(names); i++)
        n += str_fmt(names + n, sizeof(names) - n, "%s%.*s", i ? " " : "", STR_ARG(domains[i]));
    buf_fmt(b, "  %-18s %-14s %.*s\n", endpoint_show(&p->address, at), names, STR_ARG(p->about));
}

static void
put_mail(struct buf *b, const struct settings_lab *lab)
{
    char at[56];

    buf_c(b, "\nYour first mail. Paste this into another terminal:\n\n");
    buf_fmt(b,
            "  printf 'From: %.*s\\nTo: ann@open.test\\nSubject: Hello\\n\\nHello Ann.\\n' | "
            "curl -sS smtp://%s -u %.*s:%.*s --mail-from %.*s --mail-rcpt ann@open.test -T -\n",
            STR_ARG(lab->login), endpoint_show(&lab->submission, at), STR_ARG(lab->login),
            STR_ARG(lab->password), STR_ARG(lab->login));
    if (!is_installed("curl"))
        buf_c(b, "  (It needs curl: apt-get install curl)\n");
    buf_c(b,
          "\nIt says nothing if all is well. Then look here, and write to the others as well:\n"
          "ann@grey.test, gone@picky.test, ann@shaky.test, ann@[192.0.2.1], you@office.test ...\n");
}

static void
put_verb(struct buf *b, const struct banner *n, const char *words, const char *about)
{
    buf_fmt(b, "  %s %s -c %s/gapura.conf%s%s\n", n->program, words, n->dir,
            about[0] ? "   # " : "", about);
}

void
banner_put(struct buf *b, const struct banner *n)
{
    const struct settings_lab *lab = conf_get(n->conf, "");
    const struct conf_section *s;
    char at[56];

    buf_fmt(b,
            "\nThe lab runs in %s. Nothing leaves this machine: all of DNS is a file there,\n"
            "and mail is delivered to loopback addresses alone.\n\n",
            n->dir);
    buf_fmt(b, "  %-18s %-14s %s\n", endpoint_show(&lab->mx, at), "the guard",
            "takes mail of strangers for office.test");
    buf_fmt(b, "  %-18s %-14s %s\n", endpoint_show(&lab->submission, at), "the courier",
            "takes mail of our people, with a login");
    for (s = conf_first(n->conf, "provider"); s; s = conf_next(s))
        put_provider(b, s);
    put_mail(b, lab);
    buf_c(b, "\nWhat became of it, and of all the rest:\n\n");
    put_verb(b, n, "explain ann@open.test", "");
    put_verb(b, n, "top", "");
    put_verb(b, n, "queue list", "");
    buf_fmt(b, "  ls %s/mail/*/*\n", n->dir);
    buf_fmt(b, "\nSample mail %s. ", n->traffic ? "flows for both wings" : "is silent");
    if (n->typing)
        buf_c(b, "Type off or on and Enter to stop or start it, all or sum to see\n"
                 "each of its lines or only sums. ");
    buf_c(b, "Ctrl-C ends everything; what waits is kept in the directory.\n\n");
}

void
banner_explain(struct buf *b, const struct banner *n, const char *id)
{
    buf_fmt(b, "          its whole story: %s explain %s -c %s/gapura.conf\n", n->program, id,
            n->dir);
}
