/*
 * tests/support/mime_suite.c - runs collections of mail through the MIME parser: a TAP line a case.
 *
 *     build/tests/mime_suite PATH...
 *
 * A file is judged by what lies beside it: X.json (part tree of stalwart's mail-parser; X.crlf.json
 * for the same with CRLF), X_decoded.xml with decoded parts (mime4j), else by itself: it must be
 * parsed in bounded time, and an eml must have a From or a Subject. Tables of single header values
 * (unstructured.json) are read by their name.
 *
 * A case is alike if our reading is theirs, or if another one is that the parser itself says this
 * message has (mime_readings()); the last line counts both. MIME_ODD=1 shows what was odd.
 */
#include <expat.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "mail/charset.h"
#include "mail/mime.h"
#include "mail/word.h"
#include "suite_file.h"
#include "suite_reply.h"
#include "tap.h"

#define ENTRIES_MAX 2000u

/* ---- judgement ---- */

#define DISPUTED  "docs/disputed/mime.txt"
#define AS_SPACED (1u << 31) /* word_decode_spaced() */

static struct {
    unsigned cases, first, other;
} sum;

/* What a case says, whatever its file is called and its line ends are. */
static uint64_t
digest_of(struct str s)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\r')
            h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
    }
    return h;
}

/* `as`: the reading that is alike, 0 for ours; not read if there is a `why`. */
static void
judge(struct str message, const char *name, const char *why, uint32_t as)
{
    const char *reason = *why ? suite_dispute(digest_of(message)) : NULL;

    sum.cases++;
    sum.first += !*why && !as;
    sum.other += !*why && as;
    if (reason)
        tap_skip(name, reason);
    else if (*why)
        OK(false, "%s (%016" PRIx64 "): %s", name, digest_of(message), why);
    else
        OK(true, "%s%s%s", name, as ? ", read as " : "",
           as == AS_SPACED ? "spaced"
           : as            ? mime_reading_name(as)
                           : "");
}

/* ---- what a parse gave, and what it should give ---- */

struct entry {
    char kind; /* m(ultipart) e(mbedded message) l(eaf) */
    char type[128], filename[512];
    bool has_type, has_parts;
    struct buf content;
    char charset[64];
    bool is_text;
};
struct list {
    struct entry *items;
    unsigned n;
    unsigned odd;
    int at[ENTRIES_MAX]; /* index of a part's number; -1: uuencoded in text, which they know not */
    bool with_message_content;
};

static void
list_init(struct list *l)
{
    *l = (struct list){.items = calloc(ENTRIES_MAX, sizeof(struct entry))};
}

static void
list_done(struct list *l)
{
    for (unsigned i = 0; i < l->n; i++)
        buf_done(&l->items[i].content);
    free(l->items);
}

static struct entry *
list_add(struct list *l, char kind)
{
    struct entry *e = &l->items[MIN(l->n, ENTRIES_MAX - 1)];

    if (l->n < ENTRIES_MAX)
        l->n++;
    e->kind = kind;
    buf_init(&e->content, SUITE_FILE_MAX);
    return e;
}

static void
on_begin(void *ctx, const struct mime_part *p)
{
    static const char kinds[] = {'l', 'm', 'e', 'l'};
    struct list *l = ctx;
    struct entry *e;

    if (p->number < ENTRIES_MAX)
        l->at[p->number] = p->kind >= MIME_UUENCODED ? -1 : (int)l->n;
    if (p->kind >= MIME_UUENCODED)
        return;
    if (p->parent < ENTRIES_MAX && l->at[p->parent] >= 0)
        l->items[l->at[p->parent]].has_parts = true;
    e = list_add(l, kinds[p->kind]);
    snprintf(e->type, sizeof(e->type), "%.*s/%.*s", STR_ARG(p->type), STR_ARG(p->subtype));
    str_copy(p->filename, e->filename, sizeof(e->filename));
    str_copy(p->charset.n < sizeof(e->charset) ? p->charset : STR(""), e->charset,
             sizeof(e->charset));
    e->is_text = str_eq(p->type, STR("text"));
}

static void
on_data(void *ctx, const struct mime_part *p, const char *data, size_t n)
{
    struct list *l = ctx;

    if (p->number < ENTRIES_MAX && l->at[p->number] >= 0)
        buf_add(&l->items[l->at[p->number]].content, data, n);
}

static void
on_odd(void *ctx, const struct mime_part *p, enum mime_odd odd, struct str taken, struct str other)
{
    struct list *l = ctx;

    (void)p;
    l->odd |= 1u << odd;
    if (getenv("MIME_ODD"))
        printf("# odd %s: %.*s | %.*s\n", mime_odd_name(odd), STR_ARG(taken), STR_ARG(other));
}

static const struct mime_sink sink = {.begin = on_begin, .data = on_data, .odd = on_odd};

/* In pieces of odd sizes, so that nothing depends on where a piece ends. Gives the other readings
 * that this message has. */
static uint32_t
parse_as(struct str message, size_t piece, uint32_t readings, struct list *ret)
{
    uint32_t others;
    struct mime *m;

    list_init(ret);
    if (mime_create(&m, &mime_limits_default, &sink, ret) < 0)
        abort();
    mime_read_as(m, readings);
    for (size_t at = 0; at < message.n; at += piece)
        mime_feed(m, message.p + at, MIN(piece, message.n - at));
    mime_end(m);
    others = mime_readings(m);
    mime_free(m);
    return others;
}

static void
parse(struct str message, size_t piece, struct list *ret)
{
    (void)parse_as(message, piece, 0, ret);
}

static bool
same_lists(const struct list *a, const struct list *b)
{
    if (a->n != b->n || a->odd != b->odd)
        return false;
    for (unsigned i = 0; i < a->n; i++) {
        const struct entry *x = &a->items[i], *y = &b->items[i];
        if (x->kind != y->kind || strcmp(x->type, y->type) != 0 ||
            strcmp(x->filename, y->filename) != 0 ||
            !str_eq(buf_view(&x->content), buf_view(&y->content)))
            return false;
    }
    return true;
}

/* Our reading against what is wanted; if it differs, each other one that the message has, and those
 * that come to light then. The reason told is that of ours. */
typedef void compare_fn(const struct list *got, const struct list *want, char *why, size_t cap);

#define TRIES_MAX 256u

static uint32_t
find_reading(struct str message, const struct list *want, compare_fn *compare, char *why,
             size_t cap)
{
    uint32_t tries[TRIES_MAX] = {0};
    unsigned ntries = 1;

    for (unsigned i = 0; i < ntries; i++) {
        char differs[512];
        struct list got;
        uint32_t others = parse_as(message, 997, tries[i], &got);
        compare(&got, want, i ? differs : why, i ? sizeof(differs) : cap);
        list_done(&got);
        if (!*(i ? differs : why)) {
            *why = '\0';
            return tries[i];
        }
        if (i && getenv("MIME_ODD"))
            printf("# as %#x: %s\n", tries[i], differs);
        for (uint32_t bit = 1; bit < 1u << MIME_READINGS; bit <<= 1) {
            uint32_t next = tries[i] | bit;
            bool known = !(others & bit) || ntries == TRIES_MAX;
            for (unsigned k = 0; k < ntries && !known; k++)
                known = tries[k] == next;
            if (!known)
                tries[ntries++] = next;
        }
    }
    return 0;
}

/* Text as people see it: UTF-8, LF line ends, no white space at its ends. */
static void
plain_text(const struct entry *e, struct buf *ret)
{
    struct buf utf8;
    struct str s;

    buf_init(&utf8, SUITE_FILE_MAX);
    buf_init(ret, SUITE_FILE_MAX);
    charset_decode(str_c(e->charset), buf_view(&e->content), &utf8);
    s = buf_view(&utf8);
    while (s.n && strchr(" \r\n\t", s.p[s.n - 1]))
        s.n--;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\r')
            buf_char(ret, s.p[i]);
    }
    buf_done(&utf8);
}

/* ---- stalwart's JSON ---- */

static const char *
attribute(json_t *content, const char *name)
{
    json_t *list = json_object_get(content, "attributes"), *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (!strcmp(json_string_value(json_object_get(one, "name")), name))
            return json_string_value(json_object_get(one, "value"));
    }
    return NULL;
}

/* Of a field that comes twice they read the last. */
static json_t *
header_of(json_t *part, const char *name)
{
    json_t *headers = json_object_get(part, "headers"), *found = NULL, *h;
    size_t i;

    json_array_foreach(headers, i, h)
    {
        const char *is = json_string_value(json_object_get(h, "name"));
        json_t *value = json_object_get(h, "value");
        if (is && !strcmp(is, name) && json_is_object(value))
            found = json_object_get(value, "ContentType");
    }
    return found;
}

static void
want_part(struct list *l, json_t *part)
{
    json_t *body = json_object_get(part, "body"), *type = header_of(part, "content_type");
    json_t *place = header_of(part, "content_disposition");
    const char *kind = json_object_iter_key(json_object_iter(body));
    json_t *value = json_object_get(body, kind), *one;
    struct entry *e = list_add(l, *kind == 'M' ? kind[1] == 'u' ? 'm' : 'e' : 'l');
    const char *file = attribute(place, "filename"), *name = attribute(type, "name");
    size_t i;

    if (type && json_string_value(json_object_get(type, "c_subtype"))) {
        snprintf(e->type, sizeof(e->type), "%s/%s",
                 json_string_value(json_object_get(type, "c_type")),
                 json_string_value(json_object_get(type, "c_subtype")));
        str_lower(e->type, strlen(e->type));
        e->has_type = true;
    }
    snprintf(e->filename, sizeof(e->filename), "%s", file ? file : name ? name : "");
    if (json_is_string(value)) {
        e->is_text = true;
        buf_add(&e->content, json_string_value(value), json_string_length(value));
    } else if (e->kind == 'l') {
        json_array_foreach(value, i, one) buf_char(&e->content, (char)json_integer_value(one));
    } else if (e->kind == 'e') {
        json_array_foreach(json_object_get(value, "parts"), i, one) want_part(l, one);
    }
}

/* A multipart without parts whose text is handed on is what others call a text. */
static char
kind_of(const struct entry *e)
{
    return e->kind == 'm' && !e->has_parts && e->content.n ? 'l' : e->kind;
}

/* Empty: alike. */
static void
compare(const struct list *got, const struct list *want, char *why, size_t cap)
{
    *why = '\0';
    for (unsigned i = 0; i < MAX(got->n, want->n) && !*why; i++) {
        const struct entry *g = &got->items[i], *w = &want->items[i];
        if (i >= got->n || i >= want->n) {
            snprintf(why, cap, "%u parts, not %u", got->n, want->n);
        } else if (kind_of(g) != w->kind) {
            snprintf(why, cap, "part %u: kind %c, not %c", i, g->kind, w->kind);
        } else if (w->has_type && strcmp(g->type, w->type) != 0) {
            snprintf(why, cap, "part %u: %s, not %s", i, g->type, w->type);
        } else if (strcmp(g->filename, w->filename) != 0) {
            snprintf(why, cap, "part %u: name \"%s\", not \"%s\"", i, g->filename, w->filename);
        } else if (w->kind == 'l') {
            struct buf a, b;
            struct entry utf8 = {.content = w->content};
            if (w->is_text) {
                plain_text(g, &a);
                plain_text(&utf8, &b);
            } else {
                a = g->content;
                b = w->content;
            }
            if (!str_eq(buf_view(&a), buf_view(&b)))
                snprintf(why, cap, "part %u (%s): %zu bytes of content, not %zu, or others", i,
                         g->type, a.n, b.n);
            if (*why && getenv("MIME_SHOW"))
                printf("# got: %.*s\n# want: %.*s\n", (int)MIN(a.n, 400u), a.p, (int)MIN(b.n, 400u),
                       b.p);
            if (w->is_text) {
                buf_done(&a);
                buf_done(&b);
            }
        }
    }
}

static void
compare_subject(struct str message, json_t *root, char *why, size_t cap)
{
    json_t *headers = json_object_get(json_array_get(json_object_get(root, "parts"), 0), "headers");
    struct str body, block = suite_header(message, &body);
    struct buf got;
    json_t *h;
    size_t i;
    const char *at = block.n ? memmem(block.p, block.n, "\nSubject:", 9) : NULL;
    bool first = str_starts(block, STR("Subject:"));

    if ((!at && !first) || *why)
        return;
    struct str value = str_sub(block, first ? 8 : (size_t)(at + 9 - block.p), block.n);
    for (size_t k = 0; k < value.n; k++) {
        if (value.p[k] == '\n' && (k + 1 == value.n || !strchr(" \t", value.p[k + 1])))
            value.n = k;
    }
    buf_init(&got, 1u << 20);
    word_decode(value, &got);
    json_array_foreach(headers, i, h)
    {
        const char *name = json_string_value(json_object_get(h, "name"));
        const char *want = json_string_value(json_object_get(json_object_get(h, "value"), "Text"));
        if (name && want && !strcmp(name, "subject") && !str_eq(buf_view(&got), str_c(want)))
            snprintf(why, cap, "subject \"%.*s\", not \"%s\"", STR_ARG(buf_view(&got)), want);
    }
    buf_done(&got);
}

static void
run_stalwart(const char *name, struct str message, const char *json_path)
{
    json_error_t error;
    json_t *root = json_load_file(json_path, JSON_ALLOW_NUL, &error), *part;
    struct list got, small, want;
    char why[2048];
    uint32_t as;
    size_t i;

    if (!root) {
        OK(false, "%s: %s: %s", name, json_path, error.text);
        return;
    }
    list_init(&want);
    json_array_foreach(json_object_get(root, "parts"), i, part) want_part(&want, part);
    parse(message, message.n ? message.n : 1, &got);
    parse(message, 7, &small);
    as = find_reading(message, &want, compare, why, sizeof(why));
    compare_subject(message, root, why, sizeof(why));
    if (!*why && !same_lists(&got, &small))
        snprintf(why, sizeof(why), "fed in small pieces it has another structure");
    judge(message, name, why, as);
    list_done(&got);
    list_done(&small);
    list_done(&want);
    json_decref(root);
}

/* ---- mime4j's XML ---- */

struct xml {
    struct list want;
    const char *folder;
    unsigned depth;
    char waiting; /* a header was read; multipart, message or a body decides its kind */
};

static void
xml_open(void *ctx, const char *name, const char **attributes)
{
    struct xml *x = ctx;

    if (!strcmp(name, "message") || !strcmp(name, "body-part")) {
        if (!strcmp(name, "message") && x->want.n)
            x->want.items[x->want.n - 1].kind = 'e';
        list_add(&x->want, 'l');
    } else if (!strcmp(name, "multipart")) {
        x->want.items[x->want.n - 1].kind = 'm';
    } else if (strstr(name, "-body")) {
        char path[1024];
        struct buf content;
        snprintf(path, sizeof(path), "%s/%s", x->folder, attributes[1]);
        if (suite_read(path, &content)) {
            buf_add(&x->want.items[x->want.n - 1].content, content.p, content.n);
            x->want.items[x->want.n - 1].is_text = !strcmp(name, "text-body");
            buf_done(&content);
        }
    }
}

static void
strip_cr(struct buf *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        if (b->p[i] != '\r')
            b->p[n++] = b->p[i];
    }
    b->n = n;
}

static void
compare_mime4j(const struct list *got, const struct list *want, char *why, size_t cap)
{
    *why = '\0';
    for (unsigned i = 0; i < got->n; i++)
        strip_cr(&got->items[i].content);
    for (unsigned i = 0; i < MAX(got->n, want->n) && !*why; i++) {
        const struct entry *g = &got->items[i], *w = &want->items[i];
        if (i >= got->n || i >= want->n)
            snprintf(why, cap, "%u parts, not %u", got->n, want->n);
        else if (g->kind != w->kind)
            snprintf(why, cap, "part %u: kind %c, not %c", i, g->kind, w->kind);
        else if (g->kind == 'l' && !str_eq(buf_view(&g->content), buf_view(&w->content)))
            snprintf(why, cap, "part %u: %zu bytes of content, not %zu, or others", i, g->content.n,
                     w->content.n);
    }
}

static void
run_mime4j(const char *name, struct str message, const char *xml_path)
{
    struct xml x = {.depth = 0};
    struct buf text;
    uint32_t as = 0;
    char folder[1024], why[512] = "";
    XML_Parser parser = XML_ParserCreate(NULL);

    if (!suite_read(xml_path, &text)) {
        OK(false, "%s: cannot read %s", name, xml_path);
        return;
    }
    snprintf(folder, sizeof(folder), "%.*s", (int)(strlen(xml_path) - suite_base(xml_path).n - 1),
             xml_path);
    x.folder = folder;
    list_init(&x.want);
    XML_SetUserData(parser, &x);
    XML_SetElementHandler(parser, xml_open, NULL);
    if (XML_Parse(parser, text.p, (int)text.n, 1) != XML_STATUS_OK)
        snprintf(why, sizeof(why), "the XML: %s", XML_ErrorString(XML_GetErrorCode(parser)));
    for (unsigned i = 0; i < x.want.n; i++)
        strip_cr(&x.want.items[i].content);
    if (!*why)
        as = find_reading(message, &x.want, compare_mime4j, why, sizeof(why));
    judge(message, name, why, as);
    list_done(&x.want);
    buf_done(&text);
    XML_ParserFree(parser);
}

/* ---- tables, and files by themselves ---- */

static void
run_unstructured(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error), *one;
    size_t i;

    json_array_foreach(root, i, one)
    {
        const char *header = json_string_value(json_object_get(one, "header"));
        const char *want = json_string_value(json_object_get(one, "expected"));
        struct buf got;
        struct str value = str_c(header);
        for (size_t k = 0; k < value.n; k++) { /* the field ends before the next one */
            if (value.p[k] == '\n' && (k + 1 == value.n || !strchr(" \t", value.p[k + 1])))
                value.n = k;
        }
        buf_init(&got, 1u << 20);
        unsigned odd = word_decode(value, &got);
        char name[64], why[1024] = "";
        uint32_t as = 0;
        snprintf(name, sizeof(name), "unstructured %zu", i);
        if (!str_eq(buf_view(&got), str_c(want)))
            snprintf(why, sizeof(why), "\"%.*s\", not \"%s\"", STR_ARG(buf_view(&got)), want);
        if (*why && (odd & WORD_ODD_TOUCHED)) {
            buf_clear(&got);
            word_decode_spaced(value, &got);
            as = str_eq(buf_view(&got), str_c(want)) ? AS_SPACED : 0;
            *why = as ? '\0' : *why;
        }
        judge(str_c(header), name, why, as);
        buf_done(&got);
    }
    json_decref(root);
}

static void
run_alone(const char *name, struct str message)
{
    struct list big, small;

    alarm(20); /* bounded: a parser that hangs ends the run */
    parse(message, message.n ? message.n : 1, &big);
    parse(message, 13, &small);
    alarm(0);
    if (OK(big.n > 0 && same_lists(&big, &small), "%s: %u parts, however it is fed", name, big.n))
        sum.first++;
    sum.cases++;
    list_done(&big);
    list_done(&small);
}

/* X.json is of a message with LF, whatever its copy here has. */
static void
with_lf(struct str text, struct buf *ret)
{
    buf_init(ret, SUITE_FILE_MAX);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '\r' || i + 1 == text.n || text.p[i + 1] != '\n')
            buf_char(ret, text.p[i]);
    }
}

static void
one_file(void *ctx, const char *path)
{
    size_t n = strlen(path);
    char beside[1024], name[512];
    struct buf text, crlf;
    const char *dot = strrchr(path, '.');

    (void)ctx;
    str_copy(suite_base(path), name, sizeof(name));
    if (!strcmp(name, "unstructured.json")) {
        run_unstructured(path);
        return;
    }
    if (dot && (!strcmp(dot, ".json") || !strcmp(dot, ".xml") || !strcmp(dot, ".out") ||
                !strcmp(dot, ".txt") || !strcmp(dot, ".bin") || !strcmp(dot, ".gitattributes")))
        return;
    if (!suite_read(path, &text)) {
        OK(false, "%s cannot be read", path);
        return;
    }
    suite_crlf(buf_view(&text), &crlf);
    bool judged = false;
    if (dot && !strcmp(dot, ".eml")) {
        snprintf(beside, sizeof(beside), "%.*s.json", (int)(n - 4), path);
        if (access(beside, R_OK) == 0) {
            struct buf lf;
            judged = true;
            with_lf(buf_view(&text), &lf);
            run_stalwart(name, buf_view(&lf), beside);
            buf_done(&lf);
        }
        snprintf(beside, sizeof(beside), "%.*s.crlf.json", (int)(n - 4), path);
        if (access(beside, R_OK) == 0)
            run_stalwart(suite_base(beside).p, buf_view(&crlf), beside);
    } else if (dot && !strcmp(dot, ".msg")) {
        snprintf(beside, sizeof(beside), "%.*s_decoded.xml", (int)(n - 4), path);
        judged = access(beside, R_OK) == 0;
        if (judged)
            run_mime4j(name, buf_view(&text), beside);
    }
    if (!judged)
        run_alone(name, buf_view(&text));
    buf_done(&text);
    buf_done(&crlf);
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: mime_suite PATH...\n");
        return 2;
    }
    if (!suite_disputes_read(getenv("MIME_DISPUTED") ? getenv("MIME_DISPUTED") : DISPUTED))
        return 2;
    for (int i = 1; i < argc; i++)
        suite_walk(argv[i], one_file, NULL);
    printf(
        "# cases %u; alike at first %u (%.1f %%), or in a reading that the parser names %u (%.1f "
        "%%)\n",
        sum.cases, sum.first, 100.0 * sum.first / MAX(sum.cases, 1u), sum.first + sum.other,
        100.0 * (sum.first + sum.other) / MAX(sum.cases, 1u));
    return tap_done();
}
