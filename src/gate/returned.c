/*
 * gate/returned.c - lines of a report's body against our own Received field.
 *
 * Called by gate/front.c for strangers' mail with the null sender. As gate/received.c writes it,
 * the line that names us ends with the id: "by HOST with ESMTP id ID".
 */
#include "gate/returned.h"

#include "spool/id.h"

#define EPOCHS_AHEAD 64u /* other writers of this spool may have begun after us */

static void
returned_line(struct returned *r, struct str line)
{
    ssize_t by = str_find(line, STR("by ")), at;
    struct str rest, word;
    struct spool_id id;

    if (by < 0)
        return;
    rest = str_from(line, (size_t)by + 3);
    if (!str_istarts(rest, r->hostname) || (at = str_find(rest, STR(" id "))) < 0)
        return;
    rest = str_from(rest, (size_t)at + 4);
    word = str_word(&rest);
    if (word.n >= SPOOL_ID_TEXT)
        word.n = SPOOL_ID_TEXT - 1; /* what follows: ";" */
    r->found = spool_id_parse(word, &id) == 0 && id.node == r->node && id.epoch > 0 &&
               id.epoch <= r->epoch + EPOCHS_AHEAD;
}

void
returned_feed(struct returned *r, const char *p, size_t n)
{
    while (n && r->hostname.n && !r->found) {
        const char *nl = memchr(p, '\n', n);
        size_t take = nl ? (size_t)(nl - p) : n;

        if (r->n + take > sizeof(r->line))
            r->skip = true;
        else if (!r->skip)
            memcpy(r->line + r->n, p, take);
        r->n = r->skip ? 0 : (uint16_t)(r->n + take);
        if (nl) {
            if (!r->skip)
                returned_line(r, str_of(r->line, r->n));
            r->n = 0;
            r->skip = false;
            take++;
        }
        p += take;
        n -= take;
    }
}
