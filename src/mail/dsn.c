/*
 * mail/dsn.c - the reader of delivery reports: gathers the parts of a message and asks, from the
 * surest source to the least sure one, what they say.
 *
 * Called by whoever takes mail for bounce and feedback addresses, and by tests. Never looks
 * anything up and never decides what a failure means for an address: courier/ does.
 */
#include <stdlib.h>

#include "mail/dsn_inner.h"

#include "core/err.h"
#include "mail/charset.h"
#include "mail/header.h"
#include "mail/mime.h"

#define LEVELS    2u   /* the message, and the one that it carries */
#define PARTS_MAX 200u /* of a message */
#define HEAD_MAX  (64u << 10)
#define PIECE_MAX (128u << 10) /* bytes that one piece of input may become */
#define FEED_MAX  (16u << 10)  /* bytes with line ends made CRLF at a time */

const struct dsn_limits dsn_limits_default = {.text = 256u << 10,
                                              .status = 256u << 10,
                                              .original = 64u << 10,
                                              .rcpts = 1000,
                                              .reply = 4000,
                                              .memory = 8u << 20};

struct level {
    struct buf head, text, html, status, feedback, original;
};
struct dsn_reader {
    struct dsn_limits limits;
    struct arena arena;
    struct mime *mime;
    bool was_cr, ended, cut;
    struct level levels[LEVELS + 1]; /* the last one takes what lies deeper; only its head counts */
    struct buf raw;                  /* of the body, for messages whose structure is broken */
    uint8_t deep[PARTS_MAX];         /* messages around each part */
    bool is_message[PARTS_MAX];
    struct buf *into; /* what the present leaf is for; NULL: nothing */
    size_t room;      /* its ceiling; a piece may pass it, level_cut() takes that off again */
    bool decoding;    /* by `charset` */
    struct charset charset;
    struct dsn_report report;
    struct dsn_list list;
};

/* --- lists --- */

struct dsn_outcome *
dsn_list_add(struct dsn_list *l)
{
    if (l->n >= l->limits->rcpts) {
        l->cut = true;
        return NULL;
    }
    if (l->n == l->cap) {
        struct dsn_outcome *more = ARENA_ARRAY(l->arena, struct dsn_outcome, 2 * l->cap + 4);

        if (!more) {
            l->cut = true;
            return NULL;
        }
        if (l->n)
            memcpy(more, l->items, l->n * sizeof(*more));
        l->items = more;
        l->cap = 2 * l->cap + 4;
    }
    l->items[l->n] = (struct dsn_outcome){.action = DSN_FAILED};
    return &l->items[l->n++];
}

struct str
dsn_one_line(struct str text, uint32_t max, struct arena *arena)
{
    char *p = text.n ? arena_alloc(arena, MIN(text.n, max) + 1u) : NULL;
    size_t n = 0;

    for (size_t i = 0; p && i < text.n && n < max; i++) {
        bool white = (unsigned char)text.p[i] <= ' ' || text.p[i] == 127;

        if (!white)
            p[n++] = text.p[i];
        else if (n && p[n - 1] != ' ')
            p[n++] = ' ';
    }
    while (n && (p[n - 1] == ' ' || (n == max && !str_is_utf8(str_of(p, n)))))
        n--;
    return p ? str_of(p, n) : STR_NONE;
}

/* --- parts --- */

static struct buf *
leaf_for(struct level *l, const struct mime_part *p)
{
    static const struct {
        const char *type, *subtype;
        size_t at;
    } rows[] = {
        {"text", "plain", offsetof(struct level, text)},
        {"text", "html", offsetof(struct level, html)},
        {"text", "rfc822-headers", offsetof(struct level, original)},
        {"text", "rfc822-header", offsetof(struct level, original)},
        {"message", "delivery-status", offsetof(struct level, status)},
        {"message", "global-delivery-status", offsetof(struct level, status)},
        {"message", "global-headers", offsetof(struct level, original)},
        {"message", "partial", offsetof(struct level, original)},
        {"message", "feedback-report", offsetof(struct level, feedback)},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (str_eq(p->type, str_c(rows[i].type)) && str_eq(p->subtype, str_c(rows[i].subtype)))
            return (struct buf *)(void *)((char *)l + rows[i].at);
    return NULL;
}

/* Some make the returned message a part of the report without more ado: its fields stand in the
 * part's header. */
static bool
is_returned(const struct mime_part *p)
{
    struct header_field f;

    return header_find(p->header, STR("From"), &f) &&
           (header_find(p->header, STR("Date"), &f) || header_find(p->header, STR("Received"), &f));
}

static void
part_begin(void *ctx, const struct mime_part *p)
{
    struct dsn_reader *r = ctx;
    bool first = p->parent == MIME_NO_PART;
    unsigned deep;

    /* A file within a text: the text goes on around it, in its charset. */
    if (p->kind == MIME_UUENCODED || p->kind == MIME_TNEF)
        return;
    r->into = NULL;
    r->decoding = false;
    if (p->number >= PARTS_MAX || (!first && p->parent >= PARTS_MAX))
        return;
    deep = first ? 0 : r->deep[p->parent] + r->is_message[p->parent];
    deep = MIN(deep, LEVELS);
    r->deep[p->number] = (uint8_t)deep;
    r->is_message[p->number] = p->kind == MIME_MESSAGE;
    if ((first || r->is_message[p->parent]) && !r->levels[deep].head.n) {
        buf_str(&r->levels[deep].head, p->header);
        if (deep && !r->levels[deep - 1].original.n)
            buf_str(&r->levels[deep - 1].original, p->header);
    }
    if (p->kind != MIME_LEAF || deep >= LEVELS)
        return;
    r->into = leaf_for(&r->levels[deep], p);
    if (!first && is_returned(p)) {
        r->into = NULL;
        if (!r->levels[deep].original.n)
            buf_str(&r->levels[deep].original, p->header);
    }
    if (r->into == &r->levels[deep].feedback && r->into->n)
        r->into = NULL;
    if (!r->into)
        return;
    if (r->into->n)
        buf_c(r->into, "\r\n\r\n");
    r->decoding = r->into == &r->levels[deep].text || r->into == &r->levels[deep].html;
    r->room = r->decoding                            ? r->limits.text
              : r->into == &r->levels[deep].original ? r->limits.original
                                                     : r->limits.status;
    if (r->decoding)
        (void)charset_begin(&r->charset, p->charset); /* unknown ones are read as UTF-8 */
}

static void
part_data(void *ctx, const struct mime_part *p, const char *data, size_t n)
{
    struct dsn_reader *r = ctx;

    if (!r->into || p->kind != MIME_LEAF)
        return;
    if (r->into->n > r->room) {
        r->cut = true;
        return;
    }
    if (r->decoding)
        charset_feed(&r->charset, data, n, r->into);
    else
        buf_add(r->into, data, n);
}

static void
part_end(void *ctx, const struct mime_part *p)
{
    struct dsn_reader *r = ctx;

    if (p->kind != MIME_LEAF)
        return;
    if (r->decoding)
        charset_end(&r->charset, r->into);
    r->into = NULL;
    r->decoding = false;
}

static const struct mime_sink sink = {.begin = part_begin, .data = part_data, .end = part_end};

int
dsn_reader_create(struct dsn_reader **ret, const struct dsn_limits *limits)
{
    static const struct mime_limits parts = {
        .depth = 12, .parts = PARTS_MAX, .header_bytes = HEAD_MAX, .memory = 2u << 20};
    struct dsn_reader *r = calloc(1, sizeof(*r));

    if (!r)
        return ERR_NOMEM;
    r->limits = *limits;
    arena_init(&r->arena, limits->memory);
    r->list = (struct dsn_list){.arena = &r->arena, .limits = &r->limits};
    for (unsigned i = 0; i <= LEVELS; i++) {
        buf_init(&r->levels[i].head, HEAD_MAX);
        buf_init(&r->levels[i].text, (size_t)limits->text + PIECE_MAX);
        buf_init(&r->levels[i].html, (size_t)limits->text + PIECE_MAX);
        buf_init(&r->levels[i].status, (size_t)limits->status + PIECE_MAX);
        buf_init(&r->levels[i].feedback, (size_t)limits->status + PIECE_MAX);
        buf_init(&r->levels[i].original, (size_t)limits->original + PIECE_MAX);
    }
    buf_init(&r->raw, limits->text);
    if (mime_create(&r->mime, &parts, &sink, r) < 0) {
        dsn_reader_free(r);
        return ERR_NOMEM;
    }
    *ret = r;
    return 0;
}

void
dsn_reader_free(struct dsn_reader *r)
{
    if (!r)
        return;
    mime_free(r->mime);
    if (r->decoding)
        charset_end(&r->charset, NULL);
    for (unsigned i = 0; i <= LEVELS; i++) {
        buf_done(&r->levels[i].head);
        buf_done(&r->levels[i].text);
        buf_done(&r->levels[i].html);
        buf_done(&r->levels[i].status);
        buf_done(&r->levels[i].feedback);
        buf_done(&r->levels[i].original);
    }
    buf_done(&r->raw);
    arena_done(&r->arena);
    free(r);
}

uint64_t
dsn_reader_steps(const struct dsn_reader *r)
{
    return r->list.steps;
}

/* Every line end becomes CRLF: reports come with each of the three, and mixed. */
void
dsn_reader_feed(struct dsn_reader *r, const char *p, size_t n)
{
    char out[FEED_MAX];

    while (n) {
        size_t made = 0, took = 0;

        for (; took < n && made + 2 <= sizeof(out); took++) {
            char c = p[took];

            if (c == '\r' || (c == '\n' && !r->was_cr)) {
                out[made++] = '\r';
                out[made++] = '\n';
            } else if (c != '\n') {
                out[made++] = c;
            }
            r->was_cr = c == '\r';
        }
        mime_feed(r->mime, out, made);
        buf_add(&r->raw, out, MIN(made, r->raw.max - MIN(r->raw.n, r->raw.max)));
        p += took;
        n -= took;
    }
}

/* --- what they say --- */

struct first {
    struct arena *arena;
    struct str mailbox;
};

/* The view may end with the call. */
static int
first_mailbox(void *ctx, struct str mailbox)
{
    struct first *f = ctx;

    f->mailbox = arena_str(f->arena, mailbox);
    return 1;
}

/* First mailbox of a field, in the arena. */
static struct str
mailbox_of(struct str head, const char *name, struct arena *arena)
{
    struct header_field f;
    struct first first = {.arena = arena};
    struct str any;
    size_t start, end;

    if (!header_find(head, str_c(name), &f))
        return STR_NONE;
    (void)header_mailboxes(f.value, first_mailbox, &first);
    if (first.mailbox.n)
        return first.mailbox;
    return dsn_address_find(f.value, 0, &start, &end, &any) ? arena_str(arena, any) : STR_NONE;
}

static enum dsn_kind
kind_of(const struct dsn_list *l)
{
    static const struct {
        enum dsn_action action;
        enum dsn_kind kind;
    } rows[] = {
        {DSN_FAILED, DSN_KIND_FAILURE},     {DSN_DELAYED, DSN_KIND_DELAY},
        {DSN_RELAYED, DSN_KIND_RELAY},      {DSN_EXPANDED, DSN_KIND_EXPANSION},
        {DSN_DELIVERED, DSN_KIND_DELIVERY},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (unsigned k = 0; k < l->n; k++)
            if (l->items[k].action == rows[i].action)
                return rows[i].kind;
    return DSN_KIND_NONE;
}

static void
complaint_rcpts(struct dsn_reader *r, const struct dsn_parts *parts, const struct arf *arf)
{
    static const char *const names[] = {"X-HmXmrOriginalRecipient", "X-Apparently-To",
                                        "Delivered-To", "To"};
    struct dsn_outcome *o;

    for (unsigned i = 0; i < arf->rcpts.n; i++)
        if ((o = dsn_list_add(&r->list))) {
            o->final = arf->rcpts.items[i];
            o->action = DSN_DELIVERED;
        }
    for (size_t i = 0; i < ARRAY_LEN(names) && !r->list.n; i++) {
        struct str who = mailbox_of(parts->original, names[i], &r->arena);

        if (who.n && (o = dsn_list_add(&r->list))) {
            o->final = who;
            o->action = DSN_DELIVERED;
        }
    }
}

/* The paragraph of a text in which the fields of a feedback report stand, for those who declare no
 * part of its type. */
static struct str
feedback_in(struct str text)
{
    ssize_t at = dsn_ifind(text, 0, STR("feedback-type:")), end;

    if (at < 0 || (at && text.p[at - 1] != '\n'))
        return STR_NONE;
    while (at >= 2 && !(text.p[at - 1] == '\n' && text.p[at - 2] == '\n'))
        at--;
    text = str_from(text, at >= 2 ? (size_t)at : 0);
    end = str_find(text, STR("\n\n"));
    return end > 0 ? str_sub(text, 0, (size_t)end + 1) : text;
}

static bool
read_feedback(struct dsn_reader *r, const struct dsn_parts *parts)
{
    struct str fields = parts->feedback.n ? parts->feedback : feedback_in(parts->text);
    struct arf *arf = ARENA_NEW(&r->arena, struct arf);

    if (!arf || arf_parse(arf, fields, &r->arena) <= 0 || (!parts->feedback.n && !arf->whole))
        return false;
    r->report.feedback = arf;
    r->report.kind = DSN_KIND_FEEDBACK;
    r->report.machine = true;
    r->report.envid = arf->envid;
    r->report.reporting_mta = arf->reporting_mta;
    r->report.arrival = arf->arrival;
    complaint_rcpts(r, parts, arf);
    return true;
}

static void
read_other(struct dsn_reader *r, const struct dsn_parts *parts)
{
    struct str type = STR_NONE;
    struct dsn_outcome *o;
    struct arf *arf;

    r->report.kind = dsn_kind_other(parts, &type);
    if (r->report.kind == DSN_KIND_FEEDBACK && (arf = ARENA_NEW(&r->arena, struct arf))) {
        arf->type = type;
        arf->incidents = 1;
        r->report.feedback = arf;
        complaint_rcpts(r, parts, arf);
        if (!r->list.n && (o = dsn_list_add(&r->list))) {
            o->final = mailbox_of(parts->head, "From", &r->arena);
            o->action = DSN_DELIVERED;
        }
    }
    if ((r->report.kind == DSN_KIND_AUTO_REPLY || r->report.kind == DSN_KIND_CHALLENGE) &&
        (o = dsn_list_add(&r->list))) {
        o->final = mailbox_of(parts->head, "From", &r->arena);
        o->action = DSN_DELIVERED;
        o->reply = dsn_one_line(parts->text, r->limits.reply, &r->arena);
    }
}

static bool
read_fields(struct dsn_reader *r, const struct dsn_parts *parts)
{
    if (parts->status.n)
        dsn_status_read(&r->list, parts->status, false, &r->report);
    /* In text they may be a person's, or of the mail that an automatic answer quotes. */
    if (!r->list.n && dsn_ifind(parts->text, 0, STR("final-recipient:")) >= 0 &&
        dsn_kind_weight(parts) >= DSN_WEIGHT_MAYBE)
        dsn_status_read(&r->list, parts->text, true, &r->report);
    if (!r->list.n)
        return false;
    r->report.machine = true;
    dsn_text_fill(&r->list, parts);
    r->report.kind = kind_of(&r->list);
    return true;
}

static bool
read_text(struct dsn_reader *r, const struct dsn_parts *parts)
{
    unsigned weight = dsn_kind_weight(parts);
    enum dsn_action action;
    bool told = weight >= DSN_WEIGHT_SURE || dsn_shape_in(DSN_FAILS, parts->text, NULL) ||
                dsn_shape_in(DSN_ACTION, parts->text, NULL);

    if (weight < DSN_WEIGHT_MAYBE)
        return false;
    dsn_text_read(&r->list, parts, mailbox_of(parts->head, "To", &r->arena));
    for (unsigned i = 0; i < r->list.n && !told; i++)
        told = r->list.items[i].code || r->list.items[i].status[0];
    if (!told)
        r->list.n = 0;
    if (!r->list.n)
        return false;
    action = dsn_action_of(parts);
    for (unsigned i = 0; i < r->list.n;
         i++) /* "after unsuccessful delivery attempts": no success */
        r->list.items[i].action =
            r->list.items[i].code >= 400 && action != DSN_DELAYED ? DSN_FAILED : action;
    r->report.kind = kind_of(&r->list);
    return true;
}

/* Line ends that came out of an encoding: CRLF, or CR alone, become LF; a zero byte is a space. */
static void
text_lines(struct buf *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        if (b->p[i] == '\r' && i + 1 < b->n && b->p[i + 1] == '\n')
            continue;
        b->p[n++] = b->p[i] == '\r' ? '\n' : b->p[i] ? b->p[i] : ' ';
    }
    b->n = n;
}

static bool
is_blank(const struct buf *b)
{
    for (size_t i = 0; i < b->n; i++)
        if ((unsigned char)b->p[i] > ' ')
            return false;
    return true;
}

static void
cut_at(struct dsn_reader *r, struct buf *b, size_t max)
{
    r->cut |= b->n > max || b->failed;
    if (b->n <= max)
        return;
    for (b->n = max; b->n && b->p[b->n - 1] != '\n';) /* half an address is another address */
        b->n--;
}

/* Pieces that passed a ceiling end at it: what is read must not depend on where input was cut. */
static void
level_cut(struct dsn_reader *r, struct level *l)
{
    cut_at(r, &l->text, r->limits.text);
    cut_at(r, &l->html, r->limits.text);
    cut_at(r, &l->status, r->limits.status);
    cut_at(r, &l->feedback, r->limits.status);
    cut_at(r, &l->original, r->limits.original);
}

static void
level_read(struct dsn_reader *r, struct level *l)
{
    struct dsn_parts parts;

    if (is_blank(&l->text)) {
        buf_clear(&l->text);
        dsn_html_text(buf_view(&l->html), &l->text);
    }
    if (is_blank(&l->text) && is_blank(&l->status) && l == r->levels) {
        buf_clear(&l->text);
        buf_str(&l->text, str_from(buf_view(&r->raw), l->head.n));
    }
    text_lines(&l->text);
    parts = (struct dsn_parts){.head = buf_view(&l->head),
                               .text = buf_view(&l->text),
                               .status = buf_view(&l->status),
                               .feedback = buf_view(&l->feedback),
                               .original = buf_view(&l->original)};
    if (!parts.original.n)
        parts.original = dsn_text_original(parts.text, &r->arena);
    if (!read_feedback(r, &parts) && !read_fields(r, &parts) &&
        !dsn_notice_read(&r->list, parts.text, &r->report) && !read_text(r, &parts))
        read_other(r, &parts);
    if (r->report.kind == DSN_KIND_NONE)
        return;
    r->report.original = parts.original;
    if (!r->report.message_id.n)
        r->report.message_id = dsn_field(parts.original, "Message-ID", &r->arena);
    r->report.from = mailbox_of(parts.head, "From", &r->arena);
}

const struct dsn_report *
dsn_reader_end(struct dsn_reader *r)
{
    struct dsn_report *report = &r->report;

    if (r->ended)
        return report;
    r->ended = true;
    mime_end(r->mime);
    for (unsigned i = 0; i < LEVELS; i++)
        level_cut(r, &r->levels[i]);
    for (unsigned i = 0; i < LEVELS && report->kind == DSN_KIND_NONE; i++) {
        struct level *l = &r->levels[i];
        struct dsn_parts carried = {.head = buf_view(&l->head)};

        /* A carried message counts only if it is a report itself: a forwarded one. */
        if (!i || l->status.n || l->feedback.n || dsn_kind_weight(&carried) >= DSN_WEIGHT_SURE)
            level_read(r, l);
    }
    report->rcpts = r->list.items;
    report->nrcpt = r->list.n;
    report->cut |= r->cut || r->list.cut || !mime_is_whole(r->mime);
    return report;
}
