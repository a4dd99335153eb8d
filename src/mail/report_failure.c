/*
 * mail/report_failure.c - DMARC failure reports (RFC 6591, 9991): what mail/arf tells of a
 * message/feedback-report, the fields for DMARC, or the words of senders that write no such part.
 *
 * Called by mail/report_mail.c. Judges nothing: what it says is the word of a stranger.
 */
#include "mail/date.h"
#include "mail/header.h"
#include "mail/report_inner.h"

#define BLOCK_MAX (64u << 10)
#define VALUE_MAX 2048u

struct field {
    const char *name;
    size_t at; /* of a struct str in struct report_failure */
};
#define FIELD(name, f)                                                                             \
    {                                                                                              \
        name, offsetof(struct report_failure, f)                                                   \
    }
/* What mail/arf does not read. */
static const struct field fields[] = {
    FIELD("Identity-Alignment", identity_alignment),
    FIELD("Message-ID", message_id),
    FIELD("DKIM-Domain", dkim_domain),
    FIELD("DKIM-Selector", dkim_selector),
    FIELD("DKIM-Identity", dkim_identity),
    FIELD("SPF-DNS", spf_dns),
};
static const struct field in_original[] = {
    FIELD("From", from),
    FIELD("Subject", subject),
};
/* The labels of Exim's text. */
static const struct field in_words[] = {
    FIELD("Sender Domain:", reported_domain),
    FIELD("Sender IP Address:", arf.source_text),
    FIELD("DMARC Results:", arf.delivery_result),
};

/* The first of a name counts. */
static void
take(struct report_failure *r, const struct field *f, struct str value, struct arena *arena)
{
    char text[VALUE_MAX];
    struct str *to = (struct str *)(void *)((char *)r + f->at);

    if (to->n)
        return;
    size_t n = header_unfold(value, text, sizeof(text));
    report_spaces(text, n);
    *to = arena_str(arena, str_of(text, n));
}

static void
finish(struct report_failure *r)
{
    if (r->reported_domain.n) /* ours, in the arena */
        str_lower((char *)(uintptr_t)r->reported_domain.p, r->reported_domain.n);
}

/* As a block of CRLF lines, which the walk over a header reads; without blank lines in front. */
static void
crlf(struct str block, struct buf *out)
{
    buf_init(out, 2 * BLOCK_MAX);
    while (block.n && strchr("\r\n", block.p[0]))
        block = str_from(block, 1);
    for (size_t at = 0; at < MIN(block.n, (size_t)BLOCK_MAX);) {
        struct str rest = str_from(block, at);
        ssize_t lf = str_chr(rest, '\n');
        struct str line = str_sub(rest, 0, lf < 0 ? rest.n : (size_t)lf);
        at += line.n + 1;
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        buf_str(out, line);
        buf_c(out, "\r\n");
    }
}

void
report_failure_original(struct str header, struct arena *arena, struct report_failure *r)
{
    struct header_field f;
    struct buf block;

    crlf(header, &block);
    struct str copy = arena_str(arena, buf_view(&block));
    if (!r->original.n && copy.p) {
        r->original = copy;
        for (size_t i = 0; i < ARRAY_LEN(in_original); i++) {
            if (header_find(copy, str_c(in_original[i].name), &f))
                take(r, &in_original[i], f.value, arena);
        }
    }
    buf_done(&block);
}

bool
report_failure_read(struct str text, struct arena *arena, struct report_failure *ret)
{
    struct header_field f;

    *ret = (struct report_failure){.from_text = false};
    while (text.n && strchr("\r\n", text.p[0]))
        text = str_from(text, 1);
    if (arf_parse(&ret->arf, text, arena) != 1 || !str_eq(ret->arf.type, STR("auth-failure")))
        return false;
    if (ret->arf.domains.n)
        ret->reported_domain = ret->arf.domains.items[0];
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (header_find(text, str_c(fields[i].name), &f))
            take(ret, &fields[i], f.value, arena);
    }
    finish(ret);
    return true;
}

/* Exim's `dmarc_forensic_sender` writes multipart/report with words alone: labels, and behind a
 * line of dashes the header of the mail. */
bool
report_failure_text(struct str text, struct arena *arena, struct report_failure *ret)
{
    struct str rest = str_sub(text, 0, BLOCK_MAX);

    *ret = (struct report_failure){.from_text = true};
    if (str_find(rest, STR("failed the published DMARC policy")) < 0)
        return false;
    while (rest.n) {
        struct str line = str_cut(rest, '\n', &rest);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        line = str_trim(line);
        for (size_t i = 0; i < ARRAY_LEN(in_words); i++) {
            struct str label = str_c(in_words[i].name);
            if (str_istarts(line, label))
                take(ret, &in_words[i], str_from(line, label.n), arena);
        }
        if (str_istarts(line, STR("Received date:")))
            date_parse(str_trim(str_from(line, 14)), &ret->arf.arrival);
        if (str_starts(line, STR("------"))) {
            report_failure_original(rest, arena, ret);
            break;
        }
    }
    finish(ret);
    ret->arf.type = STR("auth-failure");
    ret->arf.has_source = addr_parse(ret->arf.source_text, &ret->arf.source) == 0;
    return ret->reported_domain.n > 0 || ret->arf.source_text.n > 0;
}
