/* tests/unit/test_gate_returned.c - our own Received field in reports, in any pieces. */
#include "gate/received.h"
#include "gate/returned.h"
#include "spool/id.h"
#include "tap.h"

static struct returned state;

static bool
found(const char *text, size_t step)
{
    struct str s = str_c(text);

    state = (struct returned){.hostname = STR("mx.gate.test"), .node = 7, .epoch = 3};
    for (size_t at = 0; at < s.n; at += step)
        returned_feed(&state, s.p + at, MIN(step, s.n - at));
    return state.found;
}

int
main(void)
{
    struct spool_id id = {.node = 7, .epoch = 2, .seq = 99};
    struct received r = {.helo = STR("h"),
                         .hostname = STR("mx.gate.test"),
                         .esmtp = true,
                         .rcpt = STR("a@b.test"),
                         .date = STR("now")};
    char text[SPOOL_ID_TEXT], line[3000], wide[2000];
    struct buf b;

    buf_init(&b, 8192);
    r.id = str_c(spool_id_show(&id, text));
    buf_c(&b, "Text before\r\n");
    received_write(&b, &r);
    buf_char(&b, '\0');
    for (size_t step = 1; step < 40; step++)
        OK(found(b.p, step), "as we write it, in pieces of %zu", step);
    OK(found(b.p, b.n), "and whole");
    buf_done(&b);

    memset(wide, 'x', sizeof(wide));
    str_fmt(line, sizeof(line), "%.*s by mx.gate.test with SMTP id %s\r\nby mx.gate.test id %s\r\n",
            600, wide, "y", text);
    OK(found(line, 7), "the line behind one that is too long");
    str_fmt(line, sizeof(line), "%.*s by mx.gate.test with SMTP id %s\r\n", 600, wide, text);
    OK(!found(line, 7), "no such line is kept");
    str_fmt(line, sizeof(line), "by mx.gate.test id %s", text);
    OK(!found(line, 5), "a line without an end is none");
    id.node = 8;
    str_fmt(line, sizeof(line), "by mx.gate.test id %s;\r\n", spool_id_show(&id, text));
    OK(!found(line, 5), "another node's");
    id = (struct spool_id){.node = 7, .epoch = 0, .seq = 1};
    str_fmt(line, sizeof(line), "by mx.gate.test id %s;\r\n", spool_id_show(&id, text));
    OK(!found(line, 5), "an epoch that never was");
    OK(!found("by mx.gate.test id \r\nby mx.gate.test\r\nby \r\nid\r\n", 3), "nothing to read");
    return tap_done();
}
