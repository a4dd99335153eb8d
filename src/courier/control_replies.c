/*
 * courier/control_replies.c - the verb `replies unknown`: what servers said that no pattern knows.
 *
 * Called by control.c. Shows examples as they came; the client makes them safe for a terminal.
 */
#include <stdlib.h>

#include "courier/control.h"
#include "courier/replies_unknown.h"

static void
show(struct control_call *call, const struct reply_shape *s)
{
    control_number(call, "count", s->count);
    if (s->error)
        control_number(call, "of_others", s->error);
    control_number(call, "code", s->code);
    control_text(call, "site", str_c(s->site));
    control_number(call, "first", s->first / NS_PER_S);
    control_number(call, "last", s->last / NS_PER_S);
    control_text(call, "shape", str_c(s->shape));
    control_text(call, "example", str_c(s->example));
    control_line(call);
}

void
control_replies_unknown(struct control_call *call)
{
    const struct courier *c = call->c;
    uint32_t n = c->unknown ? reply_shapes_count(c->unknown) : 0, shown = 0;
    struct reply_shape *list = calloc(n + 1u, sizeof *list);

    if (!list) {
        control_end(call, 1, "no memory for that now");
        return;
    }
    n = n ? reply_shapes_list(c->unknown, list, n) : 0;
    for (uint32_t i = 0; i < n && shown < call->f.limit; i++) {
        if (call->f.site.n && !str_ieq(call->f.site, str_c(list[i].site)))
            continue;
        show(call, &list[i]);
        shown++;
    }
    free(list);
    control_end(call, 0, "%s",
                shown ? ""
                : call->c->unknown_max == 0
                    ? "unknown replies are not counted: delivery.unknown_replies is 0"
                : n ? "no such site has given a reply that no pattern knows"
                    : "every reply since the start was known");
}
