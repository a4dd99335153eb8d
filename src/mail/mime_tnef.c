/*
 * mail/mime_tnef.c - what a winmail.dat holds as parts of the message: its files, its bodies.
 *
 * Called by mail/mime_part.c with the decoded content of leaves. A leaf is one by its first bytes,
 * whatever its type says: that is what the programs of its readers go by. Names stand behind the
 * contents in TNEF, so it is kept up to its ceiling and told at its end.
 */
#include "mail/mime_inner.h"

/* Not known yet, kept, or none. */
enum { TNEF_LOOK, TNEF_KEEP, TNEF_NONE };

void
mime_tnef_begin(struct mime *m)
{
    m->tnef.state = m->limits.tnef ? TNEF_LOOK : TNEF_NONE;
    m->tnef.n = 0;
}

void
mime_tnef_feed(struct mime *m, const char *p, size_t n)
{
    struct mime_tnef *t = &m->tnef;

    while (t->state == TNEF_LOOK && n) {
        t->head[t->n++] = *p++;
        n--;
        if (t->head[t->n - 1] != TNEF_SIGNATURE[t->n - 1]) {
            t->state = TNEF_NONE;
        } else if (t->n == sizeof(t->head)) {
            t->state = TNEF_KEEP;
            buf_done(&t->bytes);
            buf_init(&t->bytes, m->limits.tnef);
            buf_add(&t->bytes, t->head, sizeof(t->head));
        }
    }
    if (t->state != TNEF_KEEP || !n)
        return;
    /* What is over the ceiling is not looked into; what came before it is. */
    size_t room = t->bytes.max - t->bytes.n;
    t->cut |= n > room;
    buf_add(&t->bytes, p, MIN(n, room));
}

/* Tells a part beside the leaf; its number, or MIME_NO_PART. */
static uint32_t
part_told(struct mime *m, uint32_t parent, const struct mime_part *like, struct str data)
{
    struct mime_part *p = mime_part_inside(m, parent, like);

    if (!p)
        return MIME_NO_PART;
    p->kind = MIME_TNEF;
    if (m->sink->begin)
        m->sink->begin(m->ctx, p);
    p->size = data.n;
    if (data.n && m->sink->data)
        m->sink->data(m->ctx, p, data.p, data.n);
    mime_part_end(m, p, m->at);
    return p->number;
}

/* A type as the sender's program told it, if it is of the form of one. */
static void
type_set(struct mime *m, struct mime_part *p, struct str type)
{
    struct str rest, low = arena_str(&m->arena, type), major;

    p->type = STR("application");
    p->subtype = STR("octet-stream");
    if (!low.n)
        return;
    str_lower((char *)(uintptr_t)low.p, low.n);
    major = str_cut(low, '/', &rest);
    if (!major.n || !rest.n || str_has_ctl(low))
        return;
    p->type = major;
    p->subtype = rest;
}

static void
body_told(struct mime *m, const char *subtype, struct str charset, struct str data)
{
    struct mime_part like = {.type = STR("text"),
                             .subtype = str_c(subtype),
                             .charset = charset,
                             .disposition = STR("inline"),
                             .filename = STR(""),
                             .content_id = STR("")};

    if (data.p && data.n)
        part_told(m, m->leaf->number, &like, data);
}

static void
rtf_told(struct mime *m, const struct tnef *t)
{
    struct buf text;

    buf_init(&text, m->limits.tnef);
    if (t->rtf.p && tnef_rtf(t->rtf, &text) != ERR_SYNTAX)
        body_told(m, "rtf", STR(""), buf_view(&text));
    m->incomplete |= text.failed;
    buf_done(&text);
}

static void
files_told(struct mime *m, const struct tnef *t)
{
    uint32_t *numbers = ARENA_ARRAY(&m->arena, uint32_t, (size_t)t->nfiles + 1);

    if (!numbers) {
        m->incomplete = true;
        return;
    }
    numbers[0] = m->leaf->number;
    for (const struct tnef_file *f = t->files; f; f = f->next) {
        struct mime_part like = {.charset = STR(""),
                                 .disposition = STR("attachment"),
                                 .filename = f->name,
                                 .content_id = f->content_id};
        /* A message's own files follow as its parts. */
        type_set(m, &like, f->kind == TNEF_MESSAGE ? STR("application/ms-tnef") : f->type);
        numbers[f->number] = part_told(m, numbers[f->parent], &like, f->data);
        if (numbers[f->number] == MIME_NO_PART)
            return;
        if (f->other.n)
            mime_odd_told(m, m->leaf, MIME_ODD_FILENAMES, f->name, f->other);
    }
}

void
mime_tnef_finish(struct mime *m)
{
    struct tnef t;

    if (m->tnef.state != TNEF_KEEP)
        return;
    m->tnef.state = TNEF_NONE;
    int did = tnef_read(buf_view(&m->tnef.bytes), &tnef_limits_default, &m->arena, &t);
    if (did == 0) {
        body_told(m, "plain", t.text_charset, t.text);
        body_told(m, "html", t.charset, t.html);
        rtf_told(m, &t);
        files_told(m, &t);
        if (t.odd & (TNEF_ODD_CUT | TNEF_ODD_PROPERTY | TNEF_ODD_LIMIT))
            mime_odd_told(m, m->leaf, MIME_ODD_TNEF, STR_NONE, STR_NONE);
    }
    m->incomplete |= did == ERR_NOMEM || m->tnef.cut || (did == 0 && (t.odd & TNEF_ODD_LIMIT));
    buf_done(&m->tnef.bytes);
    m->tnef.cut = false;
}
