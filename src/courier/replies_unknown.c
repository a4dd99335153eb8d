/*
 * courier/replies_unknown.c - counts what patterns do not know, and says so when it is met often.
 *
 * Called by outcomes and settings; control_replies.c lists it. Examples hold what strangers wrote,
 * with addresses: they go to the operator's terminal alone, never into events.
 */
#include "courier/replies_unknown.h"

#include <stdlib.h>

#include "core/event.h"
#include "courier/reply_class_shape.h"

int
replies_unknown_take(struct courier *c)
{
    uint64_t max = c->delivery->unknown_replies;

    if (c->unknown_max == max)
        return 0;
    reply_shapes_free(c->unknown);
    c->unknown = NULL;
    c->unknown_max = 0;
    if (max == 0)
        return 0;
    c->unknown = reply_shapes_create((uint32_t)max);
    if (!c->unknown)
        return ERR_NOMEM;
    c->unknown_max = max;
    return 0;
}

static void
tell(const struct reply_shape *s, uint8_t class)
{
    struct event *e = event_open("UnknownReply");

    event_c(e, "shape", s->shape);
    event_u64(e, "code", s->code);
    event_c(e, "site", s->site);
    event_u64(e, "count", s->count - s->error);
    event_c(e, "bounce_classification", reply_class_name(class));
    event_send(e);
}

void
replies_unknown_note(struct courier *c, const char *site, struct str text,
                     const struct reply_class_result *said, uint32_t n)
{
    struct reply_shape shape;

    if (!c->unknown || said->code == 0 || text.n == 0 || !reply_shape_is_unknown(said))
        return;
    if (reply_shapes_add(c->unknown, text, said->code, str_c(site), n, courier_wall(c), &shape) ==
            0 &&
        shape.often)
        tell(&shape, said->class);
}
